"""Worker: consumes submissions, obtains their dependencies, runs them and publishes the results."""
