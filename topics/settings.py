"""Settings of all processes that use Kafka."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from topics.request.callback_urls import AllowedReceiver
from topics.request.ceilings import Ceilings
from topics.request.limits import MiB
from topics.request.model import REQUEST_BYTES_CEILING

MAX_MESSAGE_BYTES = 16 * MiB
"""Largest record in stores, events and queues: holds the largest request and the largest answer together."""


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
"""Topics whose records are deleted by age. Queues are trimmed, stores are compacted, seals stay."""


class SubmissionSettings(BaseSettings):
    """Bounds on requests, answers and unfinished submissions; where answers may be sent."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    request_bytes: int = Field(default=1 * MiB, gt=0, le=REQUEST_BYTES_CEILING)
    """Largest request, as JSON."""
    answer_bytes: int = Field(default=4 * MiB, gt=0, le=8 * MiB)
    """Largest output of a submission, as JSON: printed output and output files together. The worker cuts
    output to it and sets `truncated`."""
    ceilings: Ceilings = Field(default=Ceilings(), json_schema_extra={"default": {}})
    """Highest limits that requests may set, by stage, if they are not to be the defaults, such as
    `{"run": {"wall_time_s": 300, "memory_bytes": 8589934592}}`, see [the table](architecture.md#limits).
    A default above its ceiling becomes the ceiling. All hosts need the same value. A stage that needs more
    memory than any worker has ends as `internal_error`, see `SANDBOX_TOTAL_MEMORY_BYTES`."""
    max_unfinished: int = Field(default=10_000, ge=1)
    """Submissions from HTTP that may be accepted and not finished. Beyond it the answer is a 503."""
    max_unfinished_from_kafka: int = Field(default=1_000, ge=1)
    """Submissions from `submissions.requests` that may be accepted and not finished. Beyond it the
    request handler stops reading the topic, which keeps the requests."""
    max_unfinished_builds: int = Field(default=128, ge=1)
    """Environments of one API key that may be requested and not built yet. All clients without a key count
    as one, over HTTP and Kafka. Beyond it a request for a new environment is refused, over HTTP with a 429,
    see [dependencies.md](dependencies.md#turns)."""
    dispatch: Literal["turns", "off"] = "turns"
    """`turns`: submissions wait for a free slot in turns by owner, and ingest enqueues one itself if a slot
    is free. `off`: the store processor enqueues each submission at once, as earlier versions did. Set it to
    `off` while store processors of an earlier version run, see
    [architecture.md](architecture.md#upgrading)."""
    reply_topic_prefix: str = Field(default="replies.", min_length=1)
    """Prefix of the names of topics that requests may name for their answer, after `TOPIC_PREFIX`. An
    operator allows such a topic by creating it."""
    allowed_attempts: int = Field(default=3, ge=1)
    """Expired leases before a submission ends as `internal_error`. An attempt that ends its worker within
    a second may have no lease yet and is then not counted. The value is stored in each request, so
    changes apply to new submissions."""
    webhook_allow: tuple[AllowedReceiver, ...] = ()
    """Hosts with ports that a `callback_url` may name, such as `["hooks.example.org:443"]`. A host
    without a public address must be named by its address, such as `"127.0.0.1:9000"`, or the list must
    have that address as well. See [http.md](http.md#webhooks)."""


class KafkaSettings(SubmissionSettings):
    """Connection to Kafka, and how topics are created.

    Every process that uses Kafka reads requests or answers, so it has the settings of submissions as well.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    """Brokers to connect to first, as `HOST:PORT`, separated by commas."""
    security_protocol: Literal["PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """`SASL_SSL` is TLS with a user of the broker (SCRAM-SHA-512), which needs `SASL_USERNAME` and
    `SASL_PASSWORD_FILE`."""
    ssl_ca_file: Path | None = None
    """PEM of the authority that signed the broker's certificate. By default those that the machine trusts."""
    ssl_certificate_file: Path | None = None
    """PEM of a certificate and its key, for a broker that asks its clients for one. It does not replace the
    login."""
    sasl_username: str | None = None
    """User of the broker."""
    sasl_password_file: Path | None = None
    """File of the user's password. It is a file so that neither the environment nor a list of processes
    shows the password."""
    topic_prefix: str = ""
    """Prefix of the name of every topic, group and transactional id, so that several systems can share a
    broker."""
    profile: Literal["local", "cluster"] = "local"
    """Partition counts of topics when they are created: few for one host (`local`), or more for several hosts
    (`cluster`). They cannot be changed later."""
    replication_factor: int = Field(default=1, ge=1)
    """Replicas of each partition of the topics that Envicutor creates."""
    retention_days: dict[RetainedTopic, Annotated[int, Field(ge=1)] | None] = Field(default={})
    """Retention of topics in days, if it is not to be the default, such as `{"submissions.events": 365}`;
    `null` is for ever. `up` applies it at each start. [audit.md](audit.md#how-long-it-is-kept) lists what
    an auditor loses."""
    session_timeout_ms: int = Field(default=6000, ge=1000)
    """Time without a heartbeat after which the broker removes a member from its consumer group."""
    data_dir: Path = Path("/var/lib/envicutor")
    """Folder of local tables and of everything else that a role keeps across restarts."""

    @model_validator(mode="after")
    def _user_is_whole(self) -> Self:
        if self.security_protocol == "SASL_SSL" and not (self.sasl_username and self.sasl_password_file):
            raise ValueError("security_protocol SASL_SSL needs sasl_username and sasl_password_file")
        return self

    @property
    def sasl_password(self) -> str:
        """Password of the broker's user, read from `sasl_password_file`.

        Raises:
            OSError: the file cannot be read by this process's user.
        """
        assert self.sasl_password_file is not None
        return self.sasl_password_file.read_text().strip()
