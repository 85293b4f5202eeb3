"""The properties of a one-node broker, as a pure function."""

from pathlib import Path

MEBIBYTE = 1024 * 1024

LARGEST_RECORD_BYTES = 17 * MEBIBYTE
"""What any topic may take: 16 MiB for stores, events and queues, a little more for dead letters."""

ONE_YEAR_MINUTES = 365 * 24 * 60

_ONE_NODE = {
    "node.id": 1,
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # One replica of everything, and few partitions: each costs memory, files and start-up time.
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 4,
    # A killed broker must be able to register again quickly; the sweep of expired transactions must not be
    # shorter than the session, or a transaction that was open at the kill hangs for ever.
    "broker.session.timeout.ms": 2_000,
    "broker.heartbeat.interval.ms": 500,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 5_000,
}

_LOG = {
    "auto.create.topics.enable": "false",
    "log.message.timestamp.type": "LogAppendTime",
    # A group that was away for a year still finds where it was, instead of reading from the start.
    "offsets.retention.minutes": ONE_YEAR_MINUTES,
    "message.max.bytes": LARGEST_RECORD_BYTES,
    "replica.fetch.max.bytes": LARGEST_RECORD_BYTES,
    "replica.fetch.response.max.bytes": LARGEST_RECORD_BYTES,
    # The cleaner's buffers take 130 MiB by default, half of the heap; they grow for a large record.
    "log.cleaner.dedupe.buffer.size": 4 * MEBIBYTE,
    "log.cleaner.io.buffer.size": 128 * 1024,
}

_GROUPS = {
    "group.initial.rebalance.delay.ms": 0,
    # A dead member is noticed as fast as its own session timeout says.
    "group.min.session.timeout.ms": 1_000,
    "group.consumer.min.session.timeout.ms": 1_000,
    "group.consumer.session.timeout.ms": 6_000,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "group.consumer.heartbeat.interval.ms": 1_000,
}


def broker_properties(*, log_dir: Path, port: int, controller_port: int) -> dict[str, str]:
    """The properties of a broker on 127.0.0.1 that keeps its logs in `log_dir` and is its own controller."""
    return _with_defaults(
        {
            "listeners": f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{port}",
            "inter.broker.listener.name": "CLIENTS",
            # Static voters: the controller's port may then differ from start to start.
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "log.dirs": log_dir,
        }
    )


def container_properties() -> dict[str, str]:
    """The same in a container, without `advertised.listeners`: who runs it knows where clients reach it."""
    return _with_defaults(
        {
            "listeners": "CLIENTS://0.0.0.0:9092,BROKERS://127.0.0.1:9093,CONTROLLER://127.0.0.1:9094",
            # The broker calls itself for transactions, and may not reach the address that its clients use.
            "inter.broker.listener.name": "BROKERS",
            "controller.quorum.voters": "1@127.0.0.1:9094",
            "log.dirs": "/var/lib/kafka/data",
        }
    )


def _with_defaults(where: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in (where | _ONE_NODE | _LOG | _GROUPS).items()}


def render(properties: dict[str, str]) -> str:
    """The text of a Java properties file.

    Raises:
        ValueError: a value holds a line break or a backslash, which the format would read differently.
    """
    for name, value in properties.items():
        if any(character in value for character in "\\\r\n"):
            raise ValueError(f"{name}: {value!r} cannot be written to a properties file")
    return "".join(f"{name}={value}\n" for name, value in properties.items())
