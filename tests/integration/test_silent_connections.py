"""Connections to a broker with users that say nothing take no room for longer than a bound."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.credentials import Credentials
from infra.kafka import properties
from infra.kafka.embedded import SUPER_USER, EmbeddedKafka
from infra.kafka.install import install_kafka
from infra.kafka.ports import LOOPBACK
from tests.support.polling import eventually
from topics.catalogue import catalogue
from topics.kafka.clients import SHORT_LIVED, connection
from topics.settings import KafkaSettings

pytestmark = pytest.mark.xdist_group("rights")

CONNECTIONS = 16
SILENT_S = 2.0
DEADLINE_S = 10 * SILENT_S


@pytest.fixture
def broker(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[EmbeddedKafka, Credentials]]:
    """One with smaller bounds than that of `up --secure`."""
    monkeypatch.setitem(properties.CONNECTIONS, "roles", CONNECTIONS)
    monkeypatch.setattr(properties, "SILENT_MS", round(SILENT_S * 1000))
    credentials = Credentials(tmp_path / "secrets", None)
    distribution = install_kafka(cache_dir)
    with EmbeddedKafka(tmp_path / "kafka", distribution, tls=credentials.tls, behind_gateway=True) as broker:
        yield broker, credentials


def is_served(settings: KafkaSettings, timeout_s: float) -> bool:
    """Whether a role that connects now is answered."""
    try:
        return bool(AdminClient(connection(settings) | SHORT_LIVED).list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def test_silent_connections_keep_no_role_out_for_longer_than_the_bound(
    broker: tuple[EmbeddedKafka, Credentials],
) -> None:
    kafka, credentials = broker
    plain = KafkaSettings(bootstrap_servers=kafka.roles_servers)
    settings = credentials.settings(plain, SUPER_USER)
    credentials.put_in_force(kafka.admin_connection, settings, catalogue(settings))
    assert is_served(settings, DEADLINE_S)
    assert kafka.gateway
    with ExitStack() as silent:
        for _ in range(2 * CONNECTIONS):  # of half of them the broker does not know yet
            silent.enter_context(socket.create_connection((LOOPBACK, kafka.gateway.roles_port)))
        assert not is_served(settings, SILENT_S / 4), "they take all the room"
        eventually(lambda: is_served(settings, SILENT_S), "a role is served all the same", DEADLINE_S)
