"""`envicutor producers`: Kafka users of other systems that submit programs through Kafka."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation, AdminClient

from infra.commands.broker import NO_ANSWER, BootstrapServers, connect, no_answer
from infra.commands.output import USAGE, fail, print_note
from infra.credentials import USERS, new_password
from infra.kafka.embedded import SUPER_USER
from infra.secret_files import write_secret
from topics.catalogue import catalogue
from topics.kafka.admin import TopicMismatchError, ensure_topics
from topics.kafka.clients import connection
from topics.request.limits import MiB
from topics.security.acls import rights_of_producer
from topics.security.users import put_rights, put_user, remove_user, writers
from topics.settings import KafkaSettings

app = typer.Typer(
    no_args_is_help=True, help="Manage other systems that produce to a Kafka with users (`up --secure`)."
)

_TIMEOUT_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Name = Annotated[str, typer.Argument(help="Kafka user of the producer: 1-64 of A-Za-z0-9_-.")]


@app.command()
def add(
    name: Name,
    password_file: Annotated[
        Path, typer.Argument(help="File with its password. A random one is written if the file is missing.")
    ],
    bytes_per_s: Annotated[
        int, typer.Option(help="Rate that it may produce at. Kafka throttles it beyond that.", min=1)
    ] = MiB,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Let another system submit programs, and consume their answers from a topic of its own.

    Repeat the command for the same name to change password or quota, or to update the rights of an earlier
    version.

    Exit codes: 0 ok, 2 usage, 7 Kafka does not answer, or this user may not change users.
    """
    if not _NAME.fullmatch(name) or name in USERS:
        fail(f"{name[:80]!r} cannot be a producer's name: 1-64 of A-Za-z0-9_-, and no user of a role", USAGE)
    try:
        if not password_file.exists():
            write_secret(password_file, new_password().encode())
        password = password_file.read_text().strip()
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", USAGE)
    from infra.kafka.quotas import put_quota

    kafka = connect(bootstrap_servers)
    topics = catalogue(kafka)
    replies = replace(topics.replies, name=topics.replies.name + name)
    with _administrated(kafka) as admin:
        ensure_topics(kafka, (replies,))
        put_rights(admin, [name], rights_of_producer(kafka, topics, name))
        put_quota(kafka, name, bytes_per_s)
        put_user(admin, name, password)
    print_note(
        f"{name} may produce to {topics.requests.name}, at most {bytes_per_s} bytes/s, "
        f"and consume {replies.name} in groups whose names begin with {kafka.topic_prefix}{name}."
    )


@app.command(name="list")
def list_all(bootstrap_servers: BootstrapServers = None) -> None:
    """Print the names of all producers.

    Exit codes: 0 ok, 7 Kafka does not answer, or this user may not see users.
    """
    kafka = connect(bootstrap_servers)
    with _administrated(kafka) as admin:
        for name in _producers(kafka, admin):
            typer.echo(name)


@app.command()
def remove(name: Name, bootstrap_servers: BootstrapServers = None) -> None:
    """Remove a producer's user, rights and quota. Its submissions continue, and its topic of answers stays.

    Exit codes: 0 ok, 2 there is no such producer, 7 Kafka does not answer, or this user may not change users.
    """
    if name in USERS:
        fail(f"{name} is the user of a role", USAGE)
    from infra.kafka.quotas import put_quota

    kafka = connect(bootstrap_servers)
    with _administrated(kafka) as admin:
        if name not in _producers(kafka, admin):
            fail(f"there is no producer {name[:80]!r}", USAGE)
        remove_user(admin, name)
        put_quota(kafka, name, None)


def _producers(kafka: KafkaSettings, admin: AdminClient) -> list[str]:
    return [name for name in writers(admin, catalogue(kafka).requests.name) if name not in USERS]


@contextmanager
def _administrated(kafka: KafkaSettings) -> Iterator[AdminClient]:
    try:
        admin = AdminClient(connection(kafka))
        # Without the right to see users and ACLs, a listing would be empty instead of refused.
        cluster = admin.describe_cluster(include_authorized_operations=True).result(_TIMEOUT_S)
        if AclOperation.ALTER not in (cluster.authorized_operations or ()):
            fail(f"{kafka.sasl_username} may not change users and rights: run as {SUPER_USER}", NO_ANSWER)
        yield admin
    except KafkaException as error:
        if error.args[0].code() == KafkaError.SECURITY_DISABLED:
            fail("this broker has no users and rights: start it with `envicutor up --secure`", USAGE)
        no_answer(kafka, error)
    except TimeoutError as error:
        no_answer(kafka, error)
    except TopicMismatchError as error:
        fail(str(error), USAGE)
