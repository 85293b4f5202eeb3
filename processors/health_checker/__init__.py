"""WorkerHealthChecker and CacheBuilderHealthChecker: detect expired leases and publish LeaseExpired."""
