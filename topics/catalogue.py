"""All topics: the only definition of their names, partitions, clean-up, retention, sizes and rights."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from topics.request.limits import MiB
from topics.settings import MAX_MESSAGE_BYTES, KafkaSettings
from topics.topic import DAY_MS, FOR_EVER, HOUR_MS, Family, Role, Topic

_AROUND_REQUEST_BYTES = MiB
"""Bytes of a record on the topic of requests besides the largest request. They hold headers. They also let a
request that is a little too large be rejected with a reason instead of refused by the broker."""
REQUEST_GROUP = "request-handlers"
"""Consumer group of the request handlers for Kafka, without the prefix."""
WEBHOOK_GROUP = "webhook-senders"
"""Prefix of the consumer groups of webhook senders, without the system's prefix."""
SEALER_TRANSACTIONS = "sealer"
"""Transactional id of the sealer, of which one runs, without the prefix."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All topics of one system, in the order of documents."""

    requests: Topic
    submissions: Family
    dependencies: Family
    stops: Topic
    output: Topic
    steps: Topic
    package_sets: Topic
    api_keys: Topic
    dead_letters: Topic
    seals: Topic
    webhooks: Topic
    webhook_retries: Topic
    replies: Topic
    """Settings and name prefix of reply topics, each of which is created when an operator allows it."""

    def topics(self) -> tuple[Topic, ...]:
        """Return every topic except reply topics, for creation and documents."""
        parts: list[Topic | Family] = [getattr(self, field.name) for field in fields(self)]
        parts.remove(self.replies)
        return tuple(
            topic for part in parts for topic in (part.topics() if isinstance(part, Family) else (part,))
        )


_CHANGELOG = (
    # It is read from its beginning at every assignment: keep it as short as the leases that exist.
    ("segment.bytes", str(16 * MiB)),
    ("segment.ms", "600000"),
    ("max.compaction.lag.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("delete.retention.ms", "600000"),
)


def _family(
    name: Literal["submissions", "dependencies"],
    *,
    of: str,
    store: Role,
    consumer: Role,
    event_writers: tuple[Role, ...],
    event_readers: tuple[Role, ...],
    store_readers: tuple[Role, ...],
    partitions: Mapping[str, tuple[int, int]],
    dispatchers: tuple[Role, ...] = (),
    slot_readers: tuple[Role, ...] = (),
) -> Family:
    """Return the topics of an aggregate; `partitions` are those of its topics, `local` and `cluster`.

    `of` describes its facts. `store` writes the store and the queue. `consumer` consumes the queue.
    `dispatchers` write to the queue as well. `slot_readers` read the free slots of consumers.
    """

    def topic(
        kind: str, description: str, writers: tuple[Role, ...], readers: tuple[Role, ...], **more: Any
    ) -> Topic:
        return Topic(f"{name}.{kind}", description, *partitions[kind], writers, readers, **more)

    checker, consumers = f"{consumer}-health-checker", f"{consumer}s".replace("-", " ")
    return Family(
        events=topic("events", f"Facts about {of}.", event_writers, event_readers),
        store=topic("store", f"States of {of}.", (store,), store_readers, compacted=True),
        queue=topic(
            "queue",
            f"Attempts that {consumers} process.",
            (store, consumer, *dispatchers),
            (consumer, "operator"),
            trimmed=True,
        ),
        leases=topic(
            "leases",
            f"Leases of {consumers} on attempts; ticks of health checkers.",
            (consumer, "health-checker"),
            ("health-checker", "operator"),
            retention_ms=7 * DAY_MS,
            compression="uncompressed",  # Faust's client reads no lz4, and a renewal is small
        ),
        slots=topic(
            "slots",
            f"Free slots of {consumers}.",
            (consumer,),
            (consumer, *slot_readers),
            retention_ms=HOUR_MS,
        ),
        changelog=Topic(
            f"{checker}-leases-changelog",
            f"Table of the health checkers: the present leases of {consumers}.",
            *partitions["leases"],
            ("health-checker",),
            ("health-checker",),
            compacted=True,
            more=_CHANGELOG,
        ),
        store_group=store,
        work_group=f"{consumer}s",
        checker_group=checker,
    )


_SUBMISSIONS = _family(
    "submissions",
    of="submissions",
    store="submission-store",
    consumer="worker",
    event_writers=("ingest", "request-handler", "worker", "health-checker", "operator"),
    event_readers=("ingest", "submission-store", "sealer", "operator"),
    store_readers=("ingest", "submission-store", "request-handler", "operator"),
    partitions={"events": (1, 6), "store": (1, 6), "queue": (4, 12), "leases": (2, 6), "slots": (1, 1)},
    dispatchers=("ingest",),
    slot_readers=("submission-store", "ingest"),
)
_DEPENDENCIES = _family(
    "dependencies",
    of="sets of dependencies",
    store="build-store",
    consumer="cache-builder",
    event_writers=("worker", "cache-builder", "health-checker", "operator"),
    event_readers=("build-store", "sealer", "operator"),
    store_readers=("worker", "cache-builder", "build-store", "ingest", "request-handler", "operator"),
    partitions={"events": (1, 3), "store": (1, 3), "queue": (2, 6), "leases": (1, 3), "slots": (1, 1)},
)
_CATALOGUE = Catalogue(
    submissions=_SUBMISSIONS,
    dependencies=_DEPENDENCIES,
    requests=Topic(
        "submissions.requests",
        "Requests and cancellations from other systems.",
        local_partitions=1,
        cluster_partitions=6,
        writers=("external", "operator"),
        readers=("request-handler",),
        retention_ms=7 * DAY_MS,
        # The broker then enforces real sizes: a small batch that unpacks past 100 MB stalls librdkafka. It
        # unpacks records into memory for that. Behind a gateway, which checks sizes, `up` sets "producer".
        compression="uncompressed",
    ),
    stops=Topic(
        "submissions.stops",
        "Orders to stop attempts.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("submission-store",),
        readers=("worker",),
        # Every worker reads all of it at its start. A missed order costs work, and changes no result.
        retention_ms=7 * DAY_MS,
    ),
    output=Topic(
        "submissions.output",
        "Output of programs that still run.",
        local_partitions=1,
        cluster_partitions=6,
        writers=("worker",),
        readers=("ingest",),
        retention_ms=HOUR_MS,
    ),
    steps=Topic(
        "dependencies.steps",
        "Steps of builds that still run.",
        local_partitions=1,
        cluster_partitions=3,
        writers=("cache-builder",),
        readers=("ingest",),
        retention_ms=HOUR_MS,
    ),
    package_sets=Topic(
        "package-sets",
        "The package sets in force, by name.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("operator",),
        readers=("ingest", "request-handler", "cache-builder", "operator"),
        compacted=True,
    ),
    api_keys=Topic(
        "api-keys",
        "API keys, by their digests.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("operator",),
        readers=("ingest", "operator"),
        compacted=True,
    ),
    dead_letters=Topic(
        "dead-letters",
        "Records that could not be decoded or accepted, unchanged.",
        local_partitions=1,
        cluster_partitions=3,
        writers=(
            "request-handler",
            "submission-store",
            "build-store",
            "worker",
            "cache-builder",
            "health-checker",
            "webhook-sender",
        ),
        readers=("operator",),
        retention_ms=30 * DAY_MS,
        max_message_bytes=MAX_MESSAGE_BYTES + MiB,
    ),
    replies=Topic(
        "replies.",
        "Answers to requests that name the topic.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("submission-store",),
        readers=("external",),
        retention_ms=7 * DAY_MS,
    ),
    seals=Topic(
        "audit.seals",
        "Signed digests of ranges of the events.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("sealer",),
        readers=("sealer", "operator"),
    ),
    webhooks=Topic(
        "webhooks.pending",
        "Webhooks to be sent.",
        local_partitions=1,
        cluster_partitions=3,
        writers=("submission-store", "operator"),
        readers=("webhook-sender", "operator"),
        retention_ms=7 * DAY_MS,
    ),
    webhook_retries=Topic(
        "webhooks.retries",
        "Webhooks to be sent again.",
        local_partitions=1,
        cluster_partitions=3,
        writers=("webhook-sender", "operator"),
        readers=("webhook-sender", "operator"),
        retention_ms=7 * DAY_MS,
    ),
)


def catalogue(settings: KafkaSettings) -> Catalogue:
    """Return the topics with the names and retentions that `settings` give them."""
    retention_ms: dict[str, int] = {
        name: FOR_EVER if days is None else days * DAY_MS for name, days in settings.retention_days.items()
    }

    def named(part: Any) -> Any:
        if isinstance(part, Topic):
            kept_ms = retention_ms.get(part.name, part.retention_ms)
            return replace(part, name=settings.topic_prefix + part.name, retention_ms=kept_ms)
        if isinstance(part, Family | Catalogue):
            return replace(part, **{field.name: named(getattr(part, field.name)) for field in fields(part)})
        return part

    result: Catalogue = named(_CATALOGUE)
    return replace(
        result,
        requests=replace(result.requests, max_message_bytes=settings.request_bytes + _AROUND_REQUEST_BYTES),
        replies=replace(_CATALOGUE.replies, name=settings.topic_prefix + settings.reply_topic_prefix),
    )
