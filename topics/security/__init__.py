"""API keys, users of the broker and their rights."""
