"""The whole protocol in one thread: virtual time, one seeded random number generator, no Kafka.

Store processors, workers and cache builders are what ships: `shells` and `worker_shells` give them the
ports of `virtual`, whose event loops belong to simulated processes, and `workshop` replaces sandboxes, Nix
and local tables. Of health checkers only what decides is real; `health` mirrors the rest,
since Faust has its own clients. `broker`, `transactions` and `groups` are what Kafka promises, no more.

    python -m tests.simulator --steps 100000 --seed 1
"""
