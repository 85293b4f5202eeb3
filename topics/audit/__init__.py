"""Reading the log again: what happened, whether the stores say the same, whether anything is stuck."""
