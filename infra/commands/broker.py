"""How commands find the broker, and what they say where there is none."""

from typing import Annotated, NoReturn

import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from infra.commands.output import fail, reason
from topics.kafka.clients import connection
from topics.settings import KafkaSettings

USAGE = 2
NO_ANSWER = 7
UNREACHABLE = (
    "`make up` or `envicutor up` starts it here; ENVICUTOR_BOOTSTRAP_SERVERS says where it is otherwise"
)
_CONNECT_TIMEOUT_S = 10.0

BootstrapServers = Annotated[
    str | None, typer.Option(help="Where Kafka is; else ENVICUTOR_BOOTSTRAP_SERVERS.")
]


def connect(bootstrap_servers: str | None) -> KafkaSettings:
    """The settings, once a broker has answered: clients would complain on standard error meanwhile."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers) if bootstrap_servers else KafkaSettings()
    told: list[KafkaError] = []
    try:
        admin = AdminClient(connection(kafka) | {"log_level": 0, "error_cb": told.append})
        admin.list_topics(timeout=_CONNECT_TIMEOUT_S)
    except OSError as error:  # the password's file
        fail(f"{error.filename}: {error.strerror}", USAGE)
    except KafkaException as error:
        admin.poll(0)
        refusals = [why for why in told if why.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL}]
        no_answer(kafka, KafkaException(refusals[0]) if refusals else error)
    return kafka


def no_answer(kafka: KafkaSettings, error: Exception) -> NoReturn:
    """Say so, and exit."""
    hint = f"\n{UNREACHABLE}" if _is_unreachable(error) else ""
    fail(f"no answer from Kafka at {kafka.bootstrap_servers}: {reason(error)}{hint}", NO_ANSWER)


def _is_unreachable(error: Exception) -> bool:
    gone = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
    return isinstance(error, KafkaException) and error.args[0].code() in gone
