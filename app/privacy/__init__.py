"""What protects a person when something about them leaves the clinic. Knows the standard library alone."""
