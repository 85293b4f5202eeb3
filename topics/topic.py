"""Definition of a topic: its settings, its partitions, and the roles that write and read it."""

from dataclasses import dataclass
from typing import Literal

from topics.request.limits import MiB
from topics.settings import MAX_MESSAGE_BYTES

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FOR_EVER = -1

_TRIMMED_SEGMENT_BYTES = 64 * MiB

Role = Literal[
    "external",
    "ingest",
    "request-handler",
    "submission-store",
    "build-store",
    "worker",
    "cache-builder",
    "health-checker",
    "sealer",
    "webhook-sender",
    "operator",
]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic with the settings that it is created with."""

    name: str
    description: str
    local_partitions: int
    cluster_partitions: int
    writers: tuple[Role, ...]
    readers: tuple[Role, ...]
    retention_ms: int = FOR_EVER
    compacted: bool = False
    trimmed: bool = False
    """Whether records are deleted once the group that consumes the topic has committed them."""
    max_message_bytes: int = MAX_MESSAGE_BYTES
    compression: Literal["producer", "uncompressed"] = "producer"
    more: tuple[tuple[str, str], ...] = ()
    """Other settings of the topic at the broker, which are applied at creation only."""

    def partitions(self, profile: Literal["local", "cluster"]) -> int:
        """Return the partition count, which is fixed at creation."""
        return self.local_partitions if profile == "local" else self.cluster_partitions

    def config(self) -> dict[str, str]:
        """Return the topic's settings at the broker, by name."""
        # Space is freed by whole segments.
        segments = {"segment.bytes": str(_TRIMMED_SEGMENT_BYTES)} if self.trimmed else {}
        return (
            dict(self.more)
            | segments
            | {
                "cleanup.policy": "compact" if self.compacted else "delete",
                "retention.ms": str(self.retention_ms),
                "max.message.bytes": str(self.max_message_bytes),
                "message.timestamp.type": "LogAppendTime",
                "compression.type": self.compression,
            }
        )


@dataclass(frozen=True, slots=True)
class Family:
    """The topics and groups that submissions and dependencies both have."""

    events: Topic
    store: Topic
    queue: Topic
    leases: Topic
    slots: Topic
    changelog: Topic
    """Changelog of the health checker's table; Faust makes its name of group, table and `changelog`."""
    store_group: str
    """Consumer group of the store processor, without the prefix."""
    work_group: str
    """Consumer group that consumes the queue, without the prefix."""
    checker_group: str
    """Consumer group of the health checker, without the prefix."""

    def topics(self) -> tuple[Topic, ...]:
        """Return every topic of the family."""
        return (self.events, self.store, self.queue, self.leases, self.slots, self.changelog)
