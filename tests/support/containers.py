"""The project's Kafka image in a container, through testcontainers."""

import docker
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from infra.kafka.ports import LOOPBACK, choose_free_port

IMAGE = "envicutor/kafka"
"""Built by `make test-containers` from `infra/kafka/Dockerfile`."""

_START_TIMEOUT_S = 60


def image_is_there() -> bool:
    """Whether a Docker daemon answers and has the image."""
    try:
        client = docker.from_env(timeout=5)
        client.images.get(IMAGE)
    except DockerException:
        return False
    client.close()
    return True


class KafkaContainer(DockerContainer):
    """A one-node broker in a container, for clients on this machine."""

    def __init__(self) -> None:
        super().__init__(IMAGE)
        # Chosen here, not by Docker: the broker has to be told at its start where clients will reach it.
        port = choose_free_port()
        self.bootstrap_servers = f"{LOOPBACK}:{port}"
        self.ports["9092"] = (LOOPBACK, port)  # type: ignore[assignment]  # Docker takes a pair as well
        self.with_env(
            "KAFKA_ADVERTISED_LISTENERS", f"CLIENTS://{self.bootstrap_servers},BROKERS://127.0.0.1:9093"
        )
        started = LogMessageWaitStrategy("Kafka Server started")
        self.waiting_for(started.with_startup_timeout(_START_TIMEOUT_S).with_poll_interval(0.1))
