"""A submission: its facts, its state, and the fold that makes the one of the other."""
