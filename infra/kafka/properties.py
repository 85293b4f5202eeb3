"""Configuration properties of brokers, as pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.kafka.tls import BROKER, Tls

MEBIBYTE = 1024 * 1024

LARGEST_RECORD_BYTES = 17 * MEBIBYTE
"""Largest record of any topic: 16 MiB for stores, events and queues, a little more for dead letters."""

LARGEST_REQUEST_BYTES = 20 * MEBIBYTE
"""Size of a request that a client may announce: the largest record, and room for the rest of the request. The
broker allocates this size before the first byte arrives. Kafka's default is 100 MiB."""

LONGEST_TRANSACTION_MS = 300_000
"""Largest `transaction.timeout.ms` that a producer may choose. Until that timeout, an open transaction hides
all later records of its partitions from read_committed consumers. A rebuild of a store writes all rows in one
transaction, and needs this long. The store processors use 5 s; librdkafka's default is 60 s."""

PRODUCER_ID_EXPIRATION_MS = 3_600_000
"""Time for which the broker keeps the state of an idle idempotent producer. Kafka's default is a day."""

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

# A killed broker must be able to register again quickly. The interval of the sweep of expired transactions
# must not be shorter than the session, or a transaction that was open at the kill never ends.
_SINGLE_BROKER = {
    "broker.session.timeout.ms": 2_000,
    "broker.heartbeat.interval.ms": 500,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 5_000,
    # The broker shares the machine with all roles. Threads beyond its share of the cores bring no gain.
    "num.network.threads": 1,
    "num.io.threads": 2,
}
# Among several brokers a false alarm costs more than a late one, since leaders move.
_SEVERAL_BROKERS = {
    "broker.session.timeout.ms": 6_000,
    "broker.heartbeat.interval.ms": 1_000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 10_000,
}

_LOG = {
    "auto.create.topics.enable": "false",
    "log.message.timestamp.type": "LogAppendTime",
    # A group that was idle for a year still finds its offsets, instead of consuming from the start.
    "offsets.retention.minutes": ONE_YEAR_MINUTES,
    "message.max.bytes": LARGEST_RECORD_BYTES,
    "replica.fetch.max.bytes": LARGEST_RECORD_BYTES,
    "replica.fetch.response.max.bytes": LARGEST_RECORD_BYTES,
    "socket.request.max.bytes": LARGEST_REQUEST_BYTES,
    "transaction.max.timeout.ms": LONGEST_TRANSACTION_MS,
    "producer.id.expiration.ms": PRODUCER_ID_EXPIRATION_MS,
    # The cleaner's buffers take 130 MiB by default, half of the heap. They grow for a large record.
    "log.cleaner.dedupe.buffer.size": 4 * MEBIBYTE,
    "log.cleaner.io.buffer.size": 128 * 1024,
}

_GROUPS = {
    # Enough for many workers, and a bound on the memory that members of one group take.
    "group.max.size": LARGEST_GROUP,
    "group.consumer.max.size": LARGEST_GROUP,
    "group.initial.rebalance.delay.ms": 0,
    # These minimums let members choose short session timeouts, so that the broker notices their end soon.
    "group.min.session.timeout.ms": 1_000,
    "group.consumer.min.session.timeout.ms": 1_000,
    "group.consumer.session.timeout.ms": 6_000,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "group.consumer.heartbeat.interval.ms": 1_000,
}


def broker_properties(
    *, log_dir: Path, port: int, controller_ports: Mapping[int, int], node_id: int = 1
) -> dict[str, str]:
    """Return the properties of a broker and controller on 127.0.0.1 that keeps its logs in `log_dir`.

    `controller_ports` has the controller ports of all brokers of the cluster by node id.
    """
    return _with_defaults(
        {
            "node.id": node_id,
            "listeners": f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_ports[node_id]}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{port}",
            "inter.broker.listener.name": "CLIENTS",
            # With static voters the controller port of a single broker may change from start to start.
            "controller.quorum.voters": ",".join(
                f"{node}@127.0.0.1:{controller_port}" for node, controller_port in controller_ports.items()
            ),
            "log.dirs": log_dir,
        },
        brokers=len(controller_ports),
    )


@dataclass(frozen=True, slots=True)
class GatewayPorts:
    """Ports on 127.0.0.1 of a broker whose clients come through a gateway."""

    behind_port: int
    """Port that the gateway connects to. Clients know only the gateway's own port."""
    roles_port: int
    """Port that the roles connect to."""


_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
CONNECTIONS = {"clients": 512, "roles": 1_024, "brokers": 64, "controller": 64}
"""Open connections by listener. A connection without a login costs the broker about 100 KiB."""
SILENT_MS = 60_000
"""Time after which the broker closes a connection without traffic. Until then silent connections, from any
account of this machine, can take all of a listener, and delay each client that connects. Kafka's default is
ten minutes.

librdkafka's clients ask one broker for metadata every 5 s. A client that is silent for longer connects again
when it needs to, and logs nothing.
"""


def secured(
    properties: Mapping[str, str],
    tls: Tls,
    *,
    admin_port: int,
    super_user: str,
    gateway: GatewayPorts | None = None,
) -> dict[str, str]:
    """Return the properties of the same broker with TLS on all listeners, users with passwords, and rights.

    Clients log in as users (SASL). The listener on `admin_port` requires the brokers' certificate. Brokers,
    controllers, and the process that creates the first users have it. With a `gateway`, the listeners of
    clients and roles require the members' certificate as well. Only the gateway and the roles can then open
    a connection.
    """
    brokers = f"BROKERS://127.0.0.1:{admin_port}"
    mutual = {f"listener.name.{name}.ssl.client.auth": "required" for name in ("brokers", "controller")}
    bounds = {f"listener.name.{name}.max.connections": str(most) for name, most in CONNECTIONS.items()}
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
            # The broker allocates the size that a client announces before its login. The default is 512 KiB.
            "sasl.server.max.receive.size": "8192",
            "connections.max.idle.ms": str(SILENT_MS),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(tls.broker_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(tls.ca_file),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:CN={BROKER};User:{super_user}",
        }
    )
    return with_users | _behind(with_users, gateway) if gateway else with_users


def _behind(properties: Mapping[str, str], gateway: GatewayPorts) -> dict[str, str]:
    """Return the properties that differ if clients use a gateway, which listens on the advertised port."""
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
    """Return the properties of a single broker in a container.

    `advertised.listeners` is missing: only the operator of the container knows the address for clients.
    """
    return _with_defaults(
        {
            "node.id": 1,
            "listeners": "CLIENTS://0.0.0.0:9092,BROKERS://127.0.0.1:9093,CONTROLLER://127.0.0.1:9094",
            # The broker connects to itself for transactions. It may not reach the address of its clients.
            "inter.broker.listener.name": "BROKERS",
            "controller.quorum.voters": "1@127.0.0.1:9094",
            "log.dirs": "/var/lib/kafka/data",
        },
        brokers=1,
    )


def replicas_of(brokers: int) -> int:
    """Return the number of replicas of a partition in a cluster of `brokers`."""
    return min(3, brokers)


def _with_defaults(where: Mapping[str, object], *, brokers: int) -> dict[str, str]:
    replicas = replicas_of(brokers)
    in_sync = max(1, replicas - 1)  # replicas that must acknowledge a record, so that one broker may be down
    copies = {
        "min.insync.replicas": in_sync,
        "default.replication.factor": replicas,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
    }
    timing = _SINGLE_BROKER if brokers == 1 else _SEVERAL_BROKERS
    return {
        name: str(value) for name, value in (dict(where) | _NODE | copies | timing | _LOG | _GROUPS).items()
    }


def render(properties: dict[str, str]) -> str:
    """Return the text of a Java properties file.

    Raises:
        ValueError: a value has a line break or a backslash, which the format would interpret.
    """
    for name, value in properties.items():
        if any(character in value for character in "\\\r\n"):
            raise ValueError(f"{name}: {value!r} cannot be written to a properties file")
    return "".join(f"{name}={value}\n" for name, value in properties.items())
