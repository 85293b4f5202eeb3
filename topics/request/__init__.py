"""Requests of clients: their shape, their limits, and what is refused."""
