"""The schema's history. Tables, grants and policies of one step stand in one revision."""
