"""Producers, consumers and administration of Kafka, with one configuration for every client of the broker."""
