"""Expressions to store paths: package sets, evaluation, the cache."""
