"""Documents below docs/ that are generated from the code."""
