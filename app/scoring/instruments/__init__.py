"""The questionnaires, one declaration per file. The registry finds them: a new file here is all a new one needs."""
