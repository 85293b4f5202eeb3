"""The routes of submissions."""
