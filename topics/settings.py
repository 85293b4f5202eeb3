"""Settings of everything that talks to Kafka."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from topics.request.callback_urls import AllowedPlace
from topics.request.limits import MiB
from topics.request.model import REQUEST_BYTES_CEILING

MAX_MESSAGE_BYTES = 16 * MiB
"""Of store, events and queue records; request and answer fit in it together, with room for the rest."""


RetainedTopic = Literal[
    "submissions.requests",
    "submissions.events",
    "submissions.leases",
    "submissions.stops",
    "submissions.output",
    "webhooks.pending",
    "webhooks.retries",
    "dependencies.events",
    "dependencies.leases",
    "dead-letters",
]
"""Topics whose records go by age. Queues are trimmed, stores are compacted, seals stay."""


class KafkaSettings(BaseSettings):
    """Where Kafka is and how large records may be."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """SASL_SSL: TLS, and a user of the broker (SCRAM-SHA-512), whose name and password are then needed."""
    ssl_ca_file: Path | None = None
    """PEM of the authority that signed the broker's certificate; None for those that the machine trusts."""
    ssl_certificate_file: Path | None = None
    """PEM of a certificate and its key, for a broker that asks its clients for one. It does not replace the
    login."""
    sasl_username: str | None = None
    sasl_password_file: Path | None = None
    """A file, so that the password stands neither in the environment nor in a list of processes."""
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
    """Submissions from HTTP that may be accepted and not finished; beyond it the answer is a 503."""
    max_unfinished_from_kafka: int = Field(default=1_000, ge=1)
    """The same of the topic of requests, which is read no further meanwhile: it keeps what waits. So many of
    them, at most, stand in the queue before one from HTTP."""
    reply_topic_prefix: str = Field(default="replies.", min_length=1)
    """Requests may name a topic for their answer whose name begins so (after `topic_prefix`); an operator
    allows one by making it."""
    allowed_attempts: int = Field(default=3, ge=1)
    """How many attempts at a submission may end by a lease that expired; what its first worker dies of within
    a second of taking it has no lease yet. Written down with each request, so a change is for those that come
    after it."""
    webhook_allow: tuple[AllowedPlace, ...] = ()
    """Where requests may have their end told over HTTP, as JSON, such as `["hooks.example.org:443"]`. A place
    that has no public address must be named by that address, such as `"127.0.0.1:9000"`, or the address stand
    here beside the name."""
    data_dir: Path = Path("/var/lib/envicutor")
    """Views and whatever else outlives a process."""

    @model_validator(mode="after")
    def _user_is_whole(self) -> Self:
        if self.security_protocol == "SASL_SSL" and not (self.sasl_username and self.sasl_password_file):
            raise ValueError("security_protocol SASL_SSL needs sasl_username and sasl_password_file")
        return self

    @property
    def sasl_password(self) -> str:
        """What stands in `sasl_password_file`.

        Raises:
            OSError: it cannot be read by this process's user.
        """
        assert self.sasl_password_file is not None
        return self.sasl_password_file.read_text().strip()
