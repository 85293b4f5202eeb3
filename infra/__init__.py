"""Programs that start and connect the system: command line, local cluster, Kafka, images."""
