"""A Kafka broker from Maven jars: fetched once, started as a process of ours, on loopback only."""
