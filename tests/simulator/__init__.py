"""The whole protocol in one thread: virtual time, one seeded random number generator, no Kafka.

What decides is real: both folds, a store's `Partition`, `LeaseMonitor`, `PartitionWatchdog`, models and
codec. What talks to Kafka is mirrored, one `yield` wherever the real code waits, so that a fault can come in
between: `store` mirrors `processors/store`, `attempts` `processors/queue`, `worker` and `builder` the crafts,
`health` `processors/health_checker/app.py`. `broker`, `transactions` and `groups` are what Kafka promises, no
more.

    python -m tests.simulator --steps 100000 --seed 1
"""
