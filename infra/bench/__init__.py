"""Benchmarks: `python -m infra.bench PART`, or `make bench-PART`."""
