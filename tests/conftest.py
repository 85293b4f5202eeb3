"""What integration and system tests share: a real broker, and names of one's own on it."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker",
        choices=("auto", "container", "embedded"),
        default="auto",
        help="Kafka for the tests: the project's image through testcontainers, or the jars on this machine; "
        "KAFKA_BOOTSTRAP_SERVERS in the environment names a running one instead",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Against a container run what it can change: the tests that use the broker."""
    if config.getoption("--broker") == "container":
        others = [item for item in items if "kafka" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[str]:
    """Bootstrap servers of one broker for all tests of the run."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given
        return
    from tests.support.shared_broker import shared_broker

    own_folder = tmp_path_factory.getbasetemp()
    folder = own_folder if worker_id == "master" else own_folder.parent
    with shared_broker(folder, request.config.getoption("--broker")) as servers:
        yield servers


@pytest.fixture
def topic_prefix(kafka: str) -> Iterator[str]:
    """A prefix for this test's topics, groups and transactions; the topics are deleted at its end."""
    from confluent_kafka.admin import AdminClient

    prefix = f"test-{uuid.uuid4().hex[:8]}-"
    yield prefix
    admin = AdminClient({"bootstrap.servers": kafka})
    topics = [name for name in admin.list_topics(timeout=20).topics if name.startswith(prefix)]
    if topics:
        for deletion in admin.delete_topics(topics).values():
            deletion.result(20)


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Where what was fetched once is kept between runs."""
    from infra.settings import LocalSettings

    return LocalSettings().cache_dir
