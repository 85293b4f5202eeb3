"""An asyncio event loop in virtual time, and the ports of `topics.kafka.ports` on the simulated broker."""
