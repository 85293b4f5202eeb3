"""Connection of commands to the broker, and their message if it does not answer."""

import socket
import ssl
from typing import Annotated, NoReturn

import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from infra.commands.output import USAGE, fail, reason
from topics.kafka.clients import SHORT_LIVED, connection
from topics.settings import KafkaSettings

NO_ANSWER = 7
UNREACHABLE = (
    "`make up` or `envicutor up` starts it here; set ENVICUTOR_BOOTSTRAP_SERVERS if it runs elsewhere"
)
WANTS_TLS = (
    "the broker there requires TLS and a user: load the settings of an operator first, by "
    "`set -a; . /var/lib/envicutor/secrets/operator.env` (below ENVICUTOR_DATA_DIR)"
)
_CONNECT_TIMEOUT_S = 10.0
_HANDSHAKE_TIMEOUT_S = 2.0

BootstrapServers = Annotated[
    str | None, typer.Option(help="Address of Kafka. Default: ENVICUTOR_BOOTSTRAP_SERVERS.")
]


def connect(bootstrap_servers: str | None) -> KafkaSettings:
    """Return the settings of Kafka once a broker has answered, or exit with a message.

    With this check, a broker that does not answer, or refuses the credentials, ends a command soon and with
    one message.
    """
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers) if bootstrap_servers else KafkaSettings()
    errors: list[KafkaError] = []
    try:
        admin = AdminClient(connection(kafka) | SHORT_LIVED | {"error_cb": errors.append})
        admin.list_topics(timeout=_CONNECT_TIMEOUT_S)
    except OSError as error:  # the password file cannot be read
        fail(f"{error.filename}: {error.strerror}", USAGE)
    except KafkaException as error:
        admin.poll(0)
        refusals = [why for why in errors if why.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL}]
        no_answer(kafka, KafkaException(refusals[0]) if refusals else error)
    return kafka


def no_answer(kafka: KafkaSettings, error: Exception) -> NoReturn:
    """Print that Kafka does not answer, and exit with `NO_ANSWER`."""
    hint = f"\n{WANTS_TLS if _wants_tls(kafka) else UNREACHABLE}" if _is_unreachable(error) else ""
    fail(f"no answer from Kafka at {kafka.bootstrap_servers}: {reason(error)}{hint}", NO_ANSWER)


def _wants_tls(kafka: KafkaSettings) -> bool:
    """Return whether the first broker completes a TLS handshake, although the settings have no TLS."""
    host, _, port = kafka.bootstrap_servers.split(",")[0].strip().rpartition(":")
    if kafka.security_protocol != "PLAINTEXT" or not port.isdecimal():
        return False
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only the protocol is asked for
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _HANDSHAKE_TIMEOUT_S) as connection:
            context.wrap_socket(connection).close()
    except OSError:
        return False
    return True


def _is_unreachable(error: Exception) -> bool:
    gone = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
    return isinstance(error, KafkaException) and error.args[0].code() in gone
