"""The records on the log, and their meaning: topics, facts, states and folds."""
