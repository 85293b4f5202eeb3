"""Benchmarks: `python -m tests.benchmarks PART`, or `make bench-PART`."""
