"""All topics: the only definition of their names, partitions, clean-up, retention, sizes and rights."""

from dataclasses import dataclass, replace

from topics.request.limits import MiB
from topics.settings import MAX_MESSAGE_BYTES, KafkaSettings
from topics.topic import DAY_MS, FOR_EVER, HOUR_MS, Family, Topic

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
    """All topics of one system."""

    submissions: Family
    dependencies: Family
    requests: Topic
    stops: Topic
    output: Topic
    package_sets: Topic
    api_keys: Topic
    dead_letters: Topic
    replies: Topic
    """Settings and name prefix of reply topics, each of which is created when an operator allows it."""
    seals: Topic
    webhooks: Topic
    webhook_retries: Topic

    def topics(self) -> tuple[Topic, ...]:
        """Return every topic except reply topics, for creation and documents."""
        families = (self.submissions, self.dependencies)
        return (
            self.requests,
            *(topic for family in families for topic in family.topics()),
            self.stops,
            self.output,
            self.package_sets,
            self.api_keys,
            self.dead_letters,
            self.seals,
            self.webhooks,
            self.webhook_retries,
        )


_CHANGELOG = (
    # It is read from its beginning at every assignment: keep it as short as the leases that exist.
    ("segment.bytes", str(16 * MiB)),
    ("segment.ms", "600000"),
    ("max.compaction.lag.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("delete.retention.ms", "600000"),
)
_SUBMISSIONS = Family(
    events=Topic(
        "submissions.events",
        "Facts about submissions: the truth.",
        local_partitions=1,
        cluster_partitions=6,
        writers=("ingest", "request-handler", "worker", "health-checker", "operator"),
        readers=("ingest", "submission-store", "sealer", "operator"),
    ),
    store=Topic(
        "submissions.store",
        "Each submission as it is now.",
        local_partitions=1,
        cluster_partitions=6,
        writers=("submission-store",),
        readers=("ingest", "submission-store", "request-handler", "operator"),
        compacted=True,
    ),
    queue=Topic(
        "submissions.queue",
        "Work for workers.",
        local_partitions=4,
        cluster_partitions=12,
        writers=("submission-store", "worker"),
        readers=("worker", "operator"),
        trimmed=True,
    ),
    leases=Topic(
        "submissions.leases",
        "Who holds which attempt; ticks of health checkers.",
        local_partitions=2,
        cluster_partitions=6,
        writers=("worker", "health-checker"),
        readers=("health-checker", "operator"),
        retention_ms=7 * DAY_MS,
        compression="uncompressed",  # Faust's client reads no lz4, and a renewal is small
    ),
    slots=Topic(
        "submissions.slots",
        "How much room workers have for what waits.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("worker",),
        readers=("worker",),
        retention_ms=HOUR_MS,
    ),
    changelog=Topic(
        "worker-health-checker-leases-changelog",
        "Which leases of submissions exist: the table of the health checkers.",
        local_partitions=2,
        cluster_partitions=6,
        writers=("health-checker",),
        readers=("health-checker",),
        compacted=True,
        more=_CHANGELOG,
    ),
    store_group="submission-store",
    work_group="workers",
    checker_group="worker-health-checker",
)
_DEPENDENCIES = Family(
    events=Topic(
        "dependencies.events",
        "Facts about sets of dependencies: the truth.",
        local_partitions=1,
        cluster_partitions=3,
        writers=("worker", "cache-builder", "health-checker", "operator"),
        readers=("build-store", "sealer", "operator"),
    ),
    store=Topic(
        "dependencies.store",
        "Each set of dependencies as it is now.",
        local_partitions=1,
        cluster_partitions=3,
        writers=("build-store",),
        readers=("worker", "cache-builder", "build-store", "ingest", "operator"),
        compacted=True,
    ),
    queue=Topic(
        "dependencies.queue",
        "Work for cache builders.",
        local_partitions=2,
        cluster_partitions=6,
        writers=("build-store", "cache-builder"),
        readers=("cache-builder", "operator"),
        trimmed=True,
    ),
    leases=Topic(
        "dependencies.leases",
        "Who builds what; ticks of health checkers.",
        local_partitions=1,
        cluster_partitions=3,
        writers=("cache-builder", "health-checker"),
        readers=("health-checker", "operator"),
        retention_ms=7 * DAY_MS,
        compression="uncompressed",  # Faust's client reads no lz4, and a renewal is small
    ),
    slots=Topic(
        "dependencies.slots",
        "How much room cache builders have for what waits.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("cache-builder",),
        readers=("cache-builder",),
        retention_ms=HOUR_MS,
    ),
    changelog=Topic(
        "cache-builder-health-checker-leases-changelog",
        "Which leases of builds exist: the table of the health checkers.",
        local_partitions=1,
        cluster_partitions=3,
        writers=("health-checker",),
        readers=("health-checker",),
        compacted=True,
        more=_CHANGELOG,
    ),
    store_group="build-store",
    work_group="cache-builders",
    checker_group="cache-builder-health-checker",
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
        "Attempts that must stop.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("submission-store",),
        readers=("worker",),
        retention_ms=7
        * DAY_MS,  # every worker reads all of it at start; a missed stop costs work, never truth
    ),
    output=Topic(
        "submissions.output",
        "Output while a program still runs.",
        local_partitions=1,
        cluster_partitions=6,
        writers=("worker",),
        readers=("ingest",),
        retention_ms=HOUR_MS,
    ),
    package_sets=Topic(
        "package-sets",
        "The package set in force, by name.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("operator",),
        readers=("ingest", "request-handler", "cache-builder", "operator"),
        compacted=True,
    ),
    api_keys=Topic(
        "api-keys",
        "Who may use HTTP: digests of API keys.",
        local_partitions=1,
        cluster_partitions=1,
        writers=("operator",),
        readers=("ingest", "operator"),
        compacted=True,
    ),
    dead_letters=Topic(
        "dead-letters",
        "Records that could not be read or accepted, as they came.",
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
        "Answers to those who asked for them there.",
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
        "Webhooks that are to be sent.",
        local_partitions=1,
        cluster_partitions=3,
        writers=("submission-store", "operator"),
        readers=("webhook-sender", "operator"),
        retention_ms=7 * DAY_MS,
    ),
    webhook_retries=Topic(
        "webhooks.retries",
        "Webhooks that failed, until they are sent again.",
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

    def named(topic: Topic) -> Topic:
        kept_ms = retention_ms.get(topic.name, topic.retention_ms)
        return replace(topic, name=settings.topic_prefix + topic.name, retention_ms=kept_ms)

    def family(plain: Family) -> Family:
        return replace(
            plain,
            events=named(plain.events),
            store=named(plain.store),
            queue=named(plain.queue),
            leases=named(plain.leases),
            slots=named(plain.slots),
            changelog=named(plain.changelog),
        )

    plain = _CATALOGUE
    return Catalogue(
        submissions=family(plain.submissions),
        dependencies=family(plain.dependencies),
        requests=replace(
            named(plain.requests), max_message_bytes=settings.request_bytes + _AROUND_REQUEST_BYTES
        ),
        stops=named(plain.stops),
        output=named(plain.output),
        package_sets=named(plain.package_sets),
        api_keys=named(plain.api_keys),
        dead_letters=named(plain.dead_letters),
        replies=replace(plain.replies, name=settings.topic_prefix + settings.reply_topic_prefix),
        seals=named(plain.seals),
        webhooks=named(plain.webhooks),
        webhook_retries=named(plain.webhook_retries),
    )
