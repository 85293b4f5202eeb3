"""What Worker and CacheBuilder share: popping a queue, holding leases, slots."""
