"""Settings of everything that talks to Kafka."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from topics.limits import MiB
from topics.request import REQUEST_BYTES_CEILING

MAX_MESSAGE_BYTES = 16 * MiB
"""Of store, events and queue records; request and answer fit in it together, with room for the rest."""


RetainedTopic = Literal[
    "submissions.requests",
    "submissions.events",
    "submissions.leases",
    "submissions.stops",
    "submissions.output",
    "dependencies.events",
    "dependencies.leases",
    "dead-letters",
]
"""Topics whose records go by age. Queues are trimmed, stores are compacted, seals stay."""


class KafkaSettings(BaseSettings):
    """Where Kafka is and how large records may be."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    bootstrap_servers: str = "127.0.0.1:9092"
    topic_prefix: str = ""
    """Before the name of every topic, group and transactional id, so that clusters can share a broker."""
    profile: Literal["local", "cluster"] = "local"
    """Partition counts: few, since each costs; or many, for several hosts. Fixed at creation."""
    replication_factor: int = Field(default=1, ge=1)
    retention_days: dict[RetainedTopic, Annotated[int, Field(ge=1)] | None] = Field(default_factory=dict)
    """For how long records are kept, where it is not the catalogue's choice; null: for ever. As JSON, such as
    `{"submissions.events": 365}`. What less costs an auditor is in docs/audit.md. `up` applies it."""
    session_timeout_ms: int = Field(default=6000, ge=1000)
    """After how long a silent group member is given up."""
    request_bytes: int = Field(default=1 * MiB, gt=0, le=REQUEST_BYTES_CEILING)
    answer_bytes: int = Field(default=4 * MiB, gt=0, le=8 * MiB)
    """All output of a submission as JSON; the worker cuts to it."""
    max_unfinished: int = Field(default=10_000, ge=1)
    """Submissions that may be accepted and not finished; beyond it HTTP answers 503 and the topic of requests
    is read no further."""
    allowed_attempts: int = Field(default=3, ge=1)
    """How many attempts at a submission may end by a lease that expired. Written down with each request, so a
    change is for those that come after it."""
    data_dir: Path = Path("/var/lib/envicutor")
    """Views and whatever else outlives a process."""
