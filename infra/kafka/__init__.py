"""Kafka broker from Maven jars, downloaded once and started as a child process on loopback only."""
