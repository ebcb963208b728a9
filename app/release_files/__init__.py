"""The files of a research release: rows of allow-listed columns become CSV, NDJSON and Parquet, and are explained.

Pure: no database, no HTTP, no clock. docs/release-files.md is the page for whoever opens them.
"""
