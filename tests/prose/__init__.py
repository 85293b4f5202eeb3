"""The rules of prose for the product and its documents, as far as a program can check them.

`python -m tests.prose PATH…` prints the violations below paths; tests/unit/test_prose.py fails on them.
"""
