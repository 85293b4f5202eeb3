"""Soaks: what tests do a few times, for minutes, each part on a cluster of its own."""
