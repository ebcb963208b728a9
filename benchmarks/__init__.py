"""Benchmarks: each prints ratios against a limit and a baseline that were measured in the same run."""
