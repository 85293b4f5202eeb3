"""What is said on the log and what it means."""
