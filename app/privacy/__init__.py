"""What protects a person when something about them leaves the clinic. Knows the standard library alone."""
"""Disclosure control for research releases and cohort answers: pure functions; de-identified is not anonymous."""
