"""Worker: pops submissions, sees that their dependencies are there, runs them, says what came of it."""
