"""Disclosure control: what protects people when figures about them leave the clinic. De-identified is not anonymous."""
