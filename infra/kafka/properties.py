"""The properties of a broker, as pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.kafka.tls import BROKER, Tls

MEBIBYTE = 1024 * 1024

LARGEST_RECORD_BYTES = 17 * MEBIBYTE
"""What any topic may take: 16 MiB for stores, events and queues, a little more for dead letters."""

LARGEST_REQUEST_BYTES = 20 * MEBIBYTE
"""Size of a request that a client may announce: the largest record, and room for what surrounds it. The
broker allocates the size before the first byte arrives. Kafka's default is 100 MiB."""

LONGEST_TRANSACTION_MS = 300_000
"""A producer that leaves a transaction open holds back all later records of its partitions from
read_committed consumers until its own `transaction.timeout.ms`, which is at most this. A rebuild of a store
needs it, since it writes all rows in one transaction; the store processors use 5 s, librdkafka's default is
60 s."""

PRODUCER_ID_EXPIRATION_MS = 3_600_000
"""How long the broker keeps the state of an idempotent producer that is silent. Kafka's default is a day."""

LARGEST_GROUP = 250
"""Members of one consumer group. Kafka has no bound by default."""

ONE_YEAR_MINUTES = 365 * 24 * 60

_NODE = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Few partitions: each costs memory, files and start-up time.
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
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
    "socket.request.max.bytes": LARGEST_REQUEST_BYTES,
    "transaction.max.timeout.ms": LONGEST_TRANSACTION_MS,
    "producer.id.expiration.ms": PRODUCER_ID_EXPIRATION_MS,
    # The cleaner's buffers take 130 MiB by default, half of the heap; they grow for a large record.
    "log.cleaner.dedupe.buffer.size": 4 * MEBIBYTE,
    "log.cleaner.io.buffer.size": 128 * 1024,
}

_GROUPS = {
    # Enough for many workers, and a bound on the memory that members of one group take.
    "group.max.size": LARGEST_GROUP,
    "group.consumer.max.size": LARGEST_GROUP,
    "group.initial.rebalance.delay.ms": 0,
    # A dead member is noticed as fast as its own session timeout says.
    "group.min.session.timeout.ms": 1_000,
    "group.consumer.min.session.timeout.ms": 1_000,
    "group.consumer.session.timeout.ms": 6_000,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "group.consumer.heartbeat.interval.ms": 1_000,
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


@dataclass(frozen=True, slots=True)
class Gateway:
    """Ports on 127.0.0.1 of a broker whose clients come through a gateway."""

    behind_port: int
    """The gateway connects here; clients are given the gateway's own port."""
    roles_port: int
    """The roles connect here."""


_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_CONNECTIONS = {"clients": 512, "roles": 1_024, "brokers": 64, "controller": 64}
"""Open connections by listener. A connection without a login costs the broker about 100 KiB."""


def secured(
    properties: Mapping[str, str],
    tls: Tls,
    *,
    admin_port: int,
    super_user: str,
    gateway: Gateway | None = None,
) -> dict[str, str]:
    """Return the properties of the same broker with TLS everywhere, users with passwords, and rights.

    Clients log in as users (SASL). Brokers, controllers, and the process that makes the first users show the
    brokers' certificate to the listener on `admin_port`. With a `gateway` the listeners of clients and roles
    ask for the members' certificate as well, so that only the gateway and the roles can open a connection.
    """
    brokers = f"BROKERS://127.0.0.1:{admin_port}"
    mutual = {f"listener.name.{name}.ssl.client.auth": "required" for name in ("brokers", "controller")}
    bounds = {f"listener.name.{name}.max.connections": str(most) for name, most in _CONNECTIONS.items()}
    with_users = (
        dict(properties)
        | mutual
        | bounds
        | {
            "listeners": f"{properties['listeners']},{brokers}",
            "advertised.listeners": f"{properties['advertised.listeners']},{brokers}",
            "listener.security.protocol.map": "CLIENTS:SASL_SSL,ROLES:SASL_SSL,BROKERS:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "BROKERS",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": _SCRAM,
            # The broker allocates the size that a client without a login announces; by default 512 KiB.
            "sasl.server.max.receive.size": "8192",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(tls.broker_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(tls.ca_file),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:CN={BROKER};User:{super_user}",
        }
    )
    return with_users | _behind(with_users, gateway) if gateway else with_users


def _behind(properties: Mapping[str, str], gateway: Gateway) -> dict[str, str]:
    """Return what differs if clients come through a gateway, which listens on the advertised port."""
    public = properties["advertised.listeners"].split(",")[0]
    roles = f"ROLES://127.0.0.1:{gateway.roles_port}"
    behind = properties["listeners"].replace(public, f"CLIENTS://127.0.0.1:{gateway.behind_port}")
    return {
        "listeners": f"{behind},{roles}",
        "advertised.listeners": f"{properties['advertised.listeners']},{roles}",
        "listener.name.roles.scram-sha-512.sasl.jaas.config": _SCRAM,
        "listener.name.clients.ssl.client.auth": "required",
        "listener.name.roles.ssl.client.auth": "required",
    }


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
