"""Submissions: their facts, their state, and the fold that derives the state from the facts."""
