"""What starts and connects the system: command line, local cluster, Kafka, images."""
