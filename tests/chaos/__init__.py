"""Chaos on the real thing: a cluster under a steady load, whose processes are killed, paused and ended."""
