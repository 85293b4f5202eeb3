"""WorkerHealthChecker and CacheBuilderHealthChecker: they say which attempts nobody works on any more."""
