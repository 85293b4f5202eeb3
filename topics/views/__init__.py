"""Local copies of topics, kept up to date."""
