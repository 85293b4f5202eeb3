"""What each user of a broker with rights can do, and what it is refused; one broker, every user tries all."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    ThrottleEvent,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from infra.credentials import Credentials
from infra.kafka.embedded import SUPER_USER, EmbeddedKafka
from infra.kafka.install import install_kafka
from infra.kafka.quotas import put_quota
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, connection, consumer_config, producer_config
from topics.kafka.codec import Record
from topics.kafka.scan import committed_offsets
from topics.security.acls import ROLES, rights_of_producer
from topics.security.users import put_rights, put_user, remove_user
from topics.settings import KafkaSettings

pytestmark = pytest.mark.xdist_group("rights")

DEADLINE_S = 60.0
PRODUCER = "school"

CHANGELOGS = ("worker-health-checker-leases-changelog", "cache-builder-health-checker-leases-changelog")
WRITES = {
    "ingest": {"submissions.events", "submissions.queue"},
    "request-handler": {"submissions.events", "dead-letters"},
    "submission-store": {
        *("submissions.store", "submissions.queue", "submissions.stops", "webhooks.pending", "dead-letters"),
    },
    "build-store": {"dependencies.store", "dependencies.queue", "dead-letters"},
    "worker": {
        *("submissions.events", "submissions.queue", "submissions.leases", "submissions.output"),
        *("submissions.slots", "dependencies.events", "dead-letters"),
    },
    "cache-builder": {
        *("dependencies.events", "dependencies.queue", "dependencies.leases", "dependencies.slots"),
        *("dependencies.steps", "dead-letters"),
    },
    "health-checker": {
        *("submissions.events", "submissions.leases", "dependencies.events", "dependencies.leases"),
        *("dead-letters", *CHANGELOGS),
    },
    "sealer": {"audit.seals"},
    "webhook-sender": {"webhooks.retries", "dead-letters"},
    "operator": {
        *("submissions.requests", "submissions.events", "dependencies.events", "package-sets", "api-keys"),
        *("webhooks.pending", "webhooks.retries"),
    },
    PRODUCER: {"submissions.requests"},
}
READS = {
    "ingest": {
        *("submissions.events", "submissions.store", "submissions.output", "package-sets"),
        *("submissions.slots", "dependencies.store", "dependencies.steps", "api-keys"),
    },
    "request-handler": {
        *("submissions.requests", "submissions.store", "dependencies.store", "package-sets"),
    },
    "submission-store": {"submissions.events", "submissions.store", "submissions.slots"},
    "build-store": {"dependencies.events", "dependencies.store"},
    "worker": {"submissions.queue", "submissions.slots", "submissions.stops", "dependencies.store"},
    "cache-builder": {"dependencies.queue", "dependencies.slots", "dependencies.store", "package-sets"},
    "health-checker": {"submissions.leases", "dependencies.leases", *CHANGELOGS},
    "sealer": {"submissions.events", "dependencies.events", "audit.seals"},
    "webhook-sender": {"webhooks.pending", "webhooks.retries"},
    "operator": {
        *("submissions.events", "submissions.store", "submissions.queue", "submissions.leases"),
        *("dependencies.events", "dependencies.store", "dependencies.queue", "dependencies.leases"),
        *("package-sets", "dead-letters", "audit.seals", "api-keys", "webhooks.pending", "webhooks.retries"),
    },
    PRODUCER: set(),
}
GROUPS = {
    "request-handler": {"request-handlers"},
    "submission-store": {"submission-store"},
    "build-store": {"build-store"},
    "worker": {"workers"},
    "cache-builder": {"cache-builders"},
    "health-checker": {"worker-health-checker", "cache-builder-health-checker"},
    "webhook-sender": {"webhook-senders", "webhook-senders-retries"},
}
TRANSACTIONS = {
    "submission-store": {"submission-store-0"},
    "build-store": {"build-store-0"},
    "sealer": {"sealer"},
}
ALL_TRANSACTIONS = set().union(*TRANSACTIONS.values(), {"anything"})
TRIMS = {"submission-store": {"submissions.queue"}, "build-store": {"dependencies.queue"}}
USERS = [*ROLES, PRODUCER]
ALL_GROUPS = set().union(*GROUPS.values(), {"reader", "anything"})
REFUSALS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError._NOENT,  # its leader is not to be known
}


class SecuredBroker:
    """A broker with users and rights, as `up --secure` makes them."""

    def __init__(self, folder: Path, broker: EmbeddedKafka, credentials: Credentials) -> None:
        self._folder, self._credentials = folder, credentials
        self._plain = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, data_dir=folder)
        self.settings = credentials.settings(self._plain, SUPER_USER)
        self.catalogue = catalogue(self.settings)
        self.topics = {topic.name for topic in self.catalogue.topics()}
        credentials.put_in_force(broker.admin_connection, self.settings, self.catalogue)
        self.admin = AdminClient(connection(self.settings))
        ensure_topics(self.settings, self.catalogue.topics())
        self.add(PRODUCER)
        filler = EventProducer(self.settings)
        filled = [filler.produce(Record(topic, "key", "{}", []), partition=0) for topic in self.topics]
        for report in filled:
            report.result(DEADLINE_S)
        filler.close()

    def add(self, name: str) -> None:
        password = secrets.token_urlsafe()
        self._credentials.password_file(name).write_text(password)
        put_user(self.admin, name, password)
        put_rights(self.admin, [name], rights_of_producer(self.settings, self.catalogue, name))

    def as_user(self, name: str) -> KafkaSettings:
        return self._credentials.settings(self._plain, name)

    def with_password(self, password: str) -> KafkaSettings:
        file = self._folder / "other.password"
        file.write_text(password)
        return self.as_user(PRODUCER).model_copy(update={"sasl_password_file": file})


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[SecuredBroker]:
    folder = tmp_path_factory.mktemp("rights")
    credentials = Credentials(folder / "secrets", None)
    with EmbeddedKafka(folder / "kafka", install_kafka(cache_dir), tls=credentials.tls) as broker:
        yield SecuredBroker(folder, broker, credentials)


def refused(error: Any) -> bool:
    """Whether it is for want of a right; another error is the test's fault."""
    assert error.code() in REFUSALS, error
    return True


def allowed(call: Callable[..., Any], *arguments: Any) -> bool:
    try:
        call(*arguments)
    except KafkaException as exception:
        return not refused(exception.args[0])
    return True


def those(names: Iterable[str], call: Callable[[str], Any]) -> set[str]:
    """The names that the call is allowed for."""
    tried = sorted(names)
    with ThreadPoolExecutor(len(tried)) as pool:
        return {name for name, may in zip(tried, pool.map(partial(allowed, call), tried), strict=True) if may}


def described(consumer: Consumer, topic: str) -> None:
    """Raises KafkaException where not even its partitions may be known."""
    if error := consumer.list_topics(topic, timeout=DEADLINE_S).topics[topic].error:
        raise KafkaException(error)


def read(consumer: Consumer, topics: set[str]) -> set[str]:
    """Those of which a record came; the others were refused."""
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in topics])
    told: dict[str | None, bool] = {}
    deadline = time.monotonic() + DEADLINE_S
    while not told.keys() >= topics:
        assert time.monotonic() < deadline, f"neither read nor refused: {topics - told.keys()}"
        message = consumer.poll(0.1)
        error = message.error() if message else None
        if message and (error is None or error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED):
            told[message.topic()] = error is None or not refused(error)
    return {topic for topic in topics if told[topic]}


@pytest.mark.parametrize("user", USERS)
def test_who_may_write_where(system: SecuredBroker, user: str) -> None:
    producer = EventProducer(system.as_user(user), message_timeout_ms=30_000)
    try:
        said = {topic: producer.produce(Record(topic, "key", "{}", [])) for topic in system.topics}
        written = {topic for topic, report in said.items() if allowed(report.result, DEADLINE_S)}
    finally:
        producer.close()
    assert written == WRITES[user]


@pytest.mark.parametrize("user", USERS)
def test_who_may_read_what(system: SecuredBroker, user: str) -> None:
    group = "reader" if user in ROLES else f"{user}.reader"
    consumer = Consumer(consumer_config(system.as_user(user), group))
    found = read(consumer, {topic for topic in system.topics if allowed(described, consumer, topic)})
    consumer.close()
    assert found == READS[user]


@pytest.mark.parametrize("user", USERS)
def test_who_may_be_in_which_group(system: SecuredBroker, user: str) -> None:
    admin = AdminClient(connection(system.as_user(user)))
    known = TopicPartition(next(iter(READS[user] or WRITES[user])), 0, 0)

    def commit(group: str) -> None:
        [committed] = admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, [known])]
        ).values()
        if error := committed.result(DEADLINE_S).topic_partitions[0].error:
            raise KafkaException(error)

    assert those(ALL_GROUPS, commit) == GROUPS.get(user, set())


def test_ingest_may_read_the_committed_offsets_of_the_store(system: SecuredBroker) -> None:
    family = system.catalogue.submissions
    found = committed_offsets(system.as_user("ingest"), family.store_group, family.events.name)
    assert set(found) == {0}


@pytest.mark.parametrize("user", USERS)
def test_who_may_use_which_transactional_id(system: SecuredBroker, user: str) -> None:
    config = producer_config(system.as_user(user), message_timeout_ms=5000)

    def begin(id: str) -> None:
        transactional = {"transactional.id": id, "transaction.timeout.ms": 5000}
        Producer(config | transactional).init_transactions(DEADLINE_S)

    assert those(ALL_TRANSACTIONS, begin) == TRANSACTIONS.get(user, set())


@pytest.mark.parametrize("user", USERS)
def test_who_may_delete_records_and_nobody_anything_else(system: SecuredBroker, user: str) -> None:
    admin = AdminClient(connection(system.as_user(user)))

    def trim(topic: str) -> None:
        [deleted] = admin.delete_records([TopicPartition(topic, 0, 0)]).values()
        deleted.result(DEADLINE_S)

    trims = TRIMS.get(user, set())
    assert those(system.topics, trim) == trims
    assert not allowed(put_user, admin, "mallory", "secret")
    more = rights_of_producer(system.settings, system.catalogue, "mallory")
    assert not allowed(put_rights, admin, ["mallory"], more)
    deletions = admin.delete_topics(sorted(system.topics - trims))
    assert not any(allowed(deletion.result, DEADLINE_S) for deletion in deletions.values())


def is_told(settings: KafkaSettings, code: int) -> bool:
    """Whether a client is told so, perhaps after a connection that broke for no reason given."""
    told: set[int] = set()
    admin = AdminClient(
        connection(settings) | {"log_level": 0, "error_cb": lambda error: told.add(error.code())}
    )
    deadline = time.monotonic() + DEADLINE_S
    while code not in told and time.monotonic() < deadline:
        admin.poll(0.1)
    return code in told


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"security_protocol": "PLAINTEXT"}, KafkaError._ALL_BROKERS_DOWN),
        ({"sasl_username": "nobody"}, KafkaError._AUTHENTICATION),
        ({"ssl_ca_file": None}, KafkaError._SSL),
    ],
    ids=["no-tls", "no-such-user", "another-authority"],
)
def test_whoever_is_nobody_is_let_in_nowhere(
    system: SecuredBroker, change: dict[str, Any], code: int
) -> None:
    assert is_told(system.as_user(PRODUCER).model_copy(update=change), code)


def test_a_producer_reads_its_own_answers_alone(system: SecuredBroker) -> None:
    own, others = (system.catalogue.replies.name + name for name in (PRODUCER, "others"))
    ensure_topics(
        system.settings, tuple(replace(system.catalogue.replies, name=name) for name in (own, others))
    )
    filler = EventProducer(system.as_user("submission-store"))
    for topic in (own, others):
        filler.produce(Record(topic, "key", "{}", [])).result(DEADLINE_S)
    filler.close()
    consumer = Consumer(consumer_config(system.as_user(PRODUCER), f"{PRODUCER}.any"))
    assert not allowed(described, consumer, others)
    consumer.subscribe([own])
    deadline = time.monotonic() + DEADLINE_S
    while (message := consumer.poll(0.1)) is None:
        assert time.monotonic() < deadline
    assert (message.error(), message.value()) == (None, b"{}")
    consumer.close()


def test_a_flood_is_slowed_down_to_the_quota(system: SecuredBroker) -> None:
    told: list[ThrottleEvent] = []
    config = producer_config(system.as_user(PRODUCER), message_timeout_ms=60_000)
    put_quota(system.settings, PRODUCER, 50_000)
    flood = Producer(config | {"throttle_cb": told.append, "compression.type": "none"})
    deadline = time.monotonic() + DEADLINE_S
    while not any(event.throttle_time > 0 for event in told):
        assert time.monotonic() < deadline, "nobody slowed it down"
        flood.produce("submissions.requests", b"x" * 50_000, b"key")
        flood.flush(0.1)
    put_quota(system.settings, PRODUCER, None)


def test_a_password_is_asked_for_and_can_be_changed(system: SecuredBroker) -> None:
    known = AdminClient(connection(system.as_user(PRODUCER)))
    assert "submissions.requests" in known.list_topics(timeout=DEADLINE_S).topics
    assert "submissions.events" not in known.list_topics(timeout=DEADLINE_S).topics, "not even its name"
    assert is_told(system.with_password("wrong"), KafkaError._AUTHENTICATION)
    put_user(system.admin, PRODUCER, "another")
    changed = AdminClient(connection(system.with_password("another")))
    assert changed.list_topics(timeout=DEADLINE_S).topics
    system.add(PRODUCER)


def test_who_was_removed_is_nobody(system: SecuredBroker) -> None:
    system.add("gone")
    settings = system.as_user("gone")
    assert AdminClient(connection(settings)).list_topics(timeout=DEADLINE_S).topics
    remove_user(system.admin, "gone")
    assert is_told(settings, KafkaError._AUTHENTICATION)
    with pytest.raises(KafkaException):
        remove_user(system.admin, "gone")
