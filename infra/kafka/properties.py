"""The properties of a broker, as pure functions."""

from collections.abc import Mapping
from pathlib import Path

from infra.kafka.tls import BROKER, Tls

MEBIBYTE = 1024 * 1024

LARGEST_RECORD_BYTES = 17 * MEBIBYTE
"""What any topic may take: 16 MiB for stores, events and queues, a little more for dead letters."""

ONE_YEAR_MINUTES = 365 * 24 * 60

_NODE = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Few partitions: each costs memory, files and start-up time.
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 4,
}

# A killed broker must be able to register again quickly; the sweep of expired transactions must not be
# shorter than the session, or a transaction that was open at the kill hangs for ever.
_ALONE = {
    "broker.session.timeout.ms": 2_000,
    "broker.heartbeat.interval.ms": 500,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 5_000,
    # It shares the machine with everything else: threads beyond its share only take turns.
    "num.network.threads": 1,
    "num.io.threads": 2,
}
# Among several a false alarm costs more than a late one: leaders move.
_AMONG_OTHERS = {
    "broker.session.timeout.ms": 6_000,
    "broker.heartbeat.interval.ms": 1_000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 10_000,
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
    # A new member of a share group has nothing before its second heartbeat.
    "group.share.min.session.timeout.ms": 1_000,
    "group.share.session.timeout.ms": 6_000,
    "group.share.min.heartbeat.interval.ms": 500,
    "group.share.heartbeat.interval.ms": 1_000,
}


def broker_properties(
    *, log_dir: Path, port: int, controller_ports: Mapping[int, int], node_id: int = 1
) -> dict[str, str]:
    """The properties of a broker on 127.0.0.1 that keeps its logs in `log_dir` and is a controller as well.

    `controller_ports` has, by node id, those of all brokers of its cluster.
    """
    return _with_defaults(
        {
            "node.id": node_id,
            "listeners": f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_ports[node_id]}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{port}",
            "inter.broker.listener.name": "CLIENTS",
            # Static voters: the controller's port of a single broker may then differ from start to start.
            "controller.quorum.voters": ",".join(
                f"{node}@127.0.0.1:{controller_port}" for node, controller_port in controller_ports.items()
            ),
            "log.dirs": log_dir,
        },
        brokers=len(controller_ports),
    )


def secured(properties: Mapping[str, str], tls: Tls, *, admin_port: int, super_user: str) -> dict[str, str]:
    """The same broker, with TLS everywhere, users with passwords, and rights.

    Clients come as users (SASL); brokers, controllers, and whoever makes the first users show the brokers'
    certificate, for which there is a listener on `admin_port`. Whoever is nobody is let in nowhere.
    """
    mutual = {f"listener.name.{name}.ssl.client.auth": "required" for name in ("brokers", "controller")}
    return (
        dict(properties)
        | mutual
        | {
            "listeners": f"{properties['listeners']},BROKERS://127.0.0.1:{admin_port}",
            "advertised.listeners": f"{properties['advertised.listeners']},BROKERS://127.0.0.1:{admin_port}",
            "listener.security.protocol.map": "CLIENTS:SASL_SSL,BROKERS:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "BROKERS",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(tls.broker_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(tls.ca_file),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:CN={BROKER};User:{super_user}",
        }
    )


def container_properties() -> dict[str, str]:
    """The same in a container, without `advertised.listeners`: who runs it knows where clients reach it."""
    return _with_defaults(
        {
            "node.id": 1,
            "listeners": "CLIENTS://0.0.0.0:9092,BROKERS://127.0.0.1:9093,CONTROLLER://127.0.0.1:9094",
            # The broker calls itself for transactions, and may not reach the address that its clients use.
            "inter.broker.listener.name": "BROKERS",
            "controller.quorum.voters": "1@127.0.0.1:9094",
            "log.dirs": "/var/lib/kafka/data",
        },
        brokers=1,
    )


def replicas_of(brokers: int) -> int:
    """How many replicas a partition has in a cluster of so many brokers."""
    return min(3, brokers)


def _with_defaults(where: Mapping[str, object], *, brokers: int) -> dict[str, str]:
    replicas = replicas_of(brokers)
    in_sync = max(1, replicas - 1)  # so many acknowledge a record; one broker may be away
    copies = {
        "min.insync.replicas": in_sync,
        "default.replication.factor": replicas,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
    timing = _ALONE if brokers == 1 else _AMONG_OTHERS
    return {
        name: str(value) for name, value in (dict(where) | _NODE | copies | timing | _LOG | _GROUPS).items()
    }


def render(properties: dict[str, str]) -> str:
    """The text of a Java properties file.

    Raises:
        ValueError: a value holds a line break or a backslash, which the format would read differently.
    """
    for name, value in properties.items():
        if any(character in value for character in "\\\r\n"):
            raise ValueError(f"{name}: {value!r} cannot be written to a properties file")
    return "".join(f"{name}={value}\n" for name, value in properties.items())
