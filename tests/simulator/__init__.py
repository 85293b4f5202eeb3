"""The whole protocol in one thread: virtual time, one seeded random number generator, no Kafka.

Store processors are those that ship, on an event loop and ports of their own (`virtual`, `shells`); a mutant
replaces a few lines of them (`patches`). Of the rest, what decides is real: both folds, `LeaseMonitor`,
`PartitionWatchdog`, models and codec. What talks to Kafka is mirrored, one `yield` wherever the real code
waits, so that a fault can come in between: `attempts` mirrors `processors/queue`, `worker` and `builder` the
crafts, `health` `processors/health_checker/app.py`. `broker`, `transactions` and `groups` are what Kafka
promises, no more.

    python -m tests.simulator --steps 100000 --seed 1
"""
