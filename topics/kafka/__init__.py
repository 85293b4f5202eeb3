"""Producers, consumers and administration: what is configured alike for every client of the broker."""
