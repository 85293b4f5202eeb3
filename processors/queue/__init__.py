"""Code that Worker and CacheBuilder share: consumption of a queue, leases, slots, stop orders."""
