"""`envicutor rebuild`: new contents of a store, folded from its log."""

from typing import Annotated

import typer
from confluent_kafka import KafkaException

from infra.commands.broker import BootstrapServers, connect, no_answer
from infra.commands.options import AggregateName
from infra.commands.output import fail, print_note
from topics.catalogue import catalogue


def rebuild(
    which: Annotated[AggregateName, typer.Argument(metavar="STORE", help="Store to rebuild.")],
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Rebuild a store topic, and with it its views, from the log: after a changed fold, or to repair a store.

    The system may run meanwhile. It accepts requests all the time. New work waits for the last part of the
    rebuild, which takes seconds.

    Exit codes: 0 ok, 1 needed events are no longer in the log, 7 Kafka does not answer.
    """
    from processors.store.build_store import build_store
    from processors.store.rebuild import MissingEventsError
    from processors.store.rebuild import rebuild as rebuild_store
    from processors.store.submission_store import submission_store

    kafka = connect(bootstrap_servers)
    store = {AggregateName.SUBMISSIONS: submission_store, AggregateName.DEPENDENCIES: build_store}[which](
        catalogue(kafka)
    )
    try:
        done = rebuild_store(kafka, store, print_note)
    except MissingEventsError as error:
        fail(f"{error}: the store cannot be rebuilt, and is unchanged", 1)
    except KafkaException as error:
        no_answer(kafka, error)
    typer.echo(
        f"{which}: {done.events} events folded, {done.rows} rows, "
        f"{done.written} of them written, {done.removed} others removed"
    )
