"""The whole protocol in one thread: virtual time, one seeded random number generator, no Kafka.

Store processors, workers and cache builders are those that ship, on event loops and ports of their own
(`virtual`, `shells`, `worker_shells`); `workshop` replaces sandboxes, Nix and local tables, a mutant some
lines (`patches`). Of health checkers what decides is real; `health` mirrors the rest, since Faust has its own
clients. `broker`, `transactions` and `groups` are what Kafka promises, no more.

    python -m tests.simulator --steps 100000 --seed 1
"""
