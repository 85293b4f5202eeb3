"""`envicutor rebuild`: a store anew from its log."""

from enum import StrEnum
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from infra.commands.broker import BootstrapServers, connect, no_answer
from infra.commands.output import fail, say
from topics.catalogue import catalogue


class Which(StrEnum):
    """The store to be made anew."""

    SUBMISSIONS = "submissions"
    DEPENDENCIES = "dependencies"


def rebuild(
    which: Annotated[Which, typer.Argument(metavar="STORE", help="submissions or dependencies.")],
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Make a store topic, and with it its views, anew from the log; after a changed fold or a mistake.

    The system may run: it goes on accepting, new work waits for the last part, which takes seconds.

    Exit codes: 0 ok, 1 events are gone that it would need, 7 Kafka does not answer.
    """
    from processors.store.build_store import build_store
    from processors.store.rebuild import MissingEventsError
    from processors.store.rebuild import rebuild as make_anew
    from processors.store.submission_store import submission_store

    kafka = connect(bootstrap_servers)
    store = {Which.SUBMISSIONS: submission_store, Which.DEPENDENCIES: build_store}[which](catalogue(kafka))
    try:
        done = make_anew(kafka, store, say)
    except MissingEventsError as error:
        fail(f"{error}: the store cannot be made anew, it is as it was", 1)
    except KafkaException as error:
        no_answer(kafka, error)
    typer.echo(
        f"{which}: {done.events} events folded, {done.rows} rows, "
        f"{done.written} of them written, {done.removed} others removed"
    )
