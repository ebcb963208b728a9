"""Disclosure control for research releases and cohort answers: pure functions; de-identified is not anonymous."""
