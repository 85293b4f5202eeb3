"""`envicutor init`: what the roles need on a broker that `up` does not start."""

import typer
from confluent_kafka import KafkaException

from infra.commands import broker
from infra.commands.broker import BootstrapServers, connect
from infra.commands.output import USAGE, fail, print_note
from infra.package_sets import (
    EnvironmentsFileError,
    ensure_package_sets,
    prebuilt_environments,
    request_environments,
)
from infra.settings import LocalSettings
from nix.errors import CacheError
from nix.settings import NixSettings
from topics.catalogue import catalogue
from topics.kafka.admin import TopicMismatchError, ensure_topics


def init(bootstrap_servers: BootstrapServers = None) -> None:
    """Prepare a broker of your own for the roles, as `up` prepares the one that it starts. Needs root.

    The command creates the topics that are missing, puts the package sets of ENVICUTOR_PACKAGE_SETS in force
    unless they are, and requests the base environment and those of ENVICUTOR_PREBUILD and
    ENVICUTOR_LANGUAGES. Run it again after each upgrade: it changes only what is not as it should be.

    Exit codes: 0 ok, 1 a topic has another number of partitions, or a package set cannot be made on this
    machine, 2 a setting is wrong, 7 Kafka does not answer, or refuses.
    """
    kafka = connect(bootstrap_servers)
    topics = catalogue(kafka)
    try:
        wanted = prebuilt_environments(LocalSettings())
        ensure_topics(kafka, topics.topics())
        print_note(f"{len(topics.topics())} topics are there")
        pin = ensure_package_sets(kafka, topics, NixSettings(), print_note)
        request_environments(kafka, topics, pin, wanted)
    except EnvironmentsFileError as error:
        fail(str(error), USAGE)
    except (TopicMismatchError, CacheError) as error:
        fail(str(error), 1)
    except KafkaException as error:
        broker.no_answer(kafka, error)
    typer.echo(pin)
