"""`envicutor show`, `list` and `cancel`."""

import time
from datetime import datetime
from itertools import islice
from typing import Annotated

import typer
from rich.table import Table

from infra.commands.client import AsJson, Server, client
from infra.commands.output import plain_table, say, show_table
from ingest.models import Listed
from topics.times import milliseconds

_UUID_CHARACTERS = 36

Id = Annotated[str, typer.Argument(help="Of the submission.")]


def show(id: Id, server: Server = None) -> None:
    """Print a submission as it is now, as JSON.

    Exit codes: 0 ok, 2 there is none with this id, 7 no answer.
    """
    with client(server) as connected:
        typer.echo(connected.get(id).model_dump_json(indent=2))


def cancel(id: Id, server: Server = None) -> None:
    """Stop a submission, whatever it is doing.

    Exit codes: 0 cancelled, 2 there is none with this id or it is finished already, 7 no answer.
    """
    with client(server) as connected:
        say(f"{connected.cancel(id).status}  {id}")


def list_submissions(
    status: Annotated[str | None, typer.Option(help="Such as queued, started, finished, cancelled.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Such as ok, run_failed, wrong_output.")] = None,
    tag: Annotated[str | None, typer.Option(help="One of the tags that the request had.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Created then or later; UTC.")] = None,
    most: Annotated[int, typer.Option("--most", "-n", help="How many.", min=1)] = 20,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List submissions, newest first: their age, what became of them, and in which attempt beyond the first.

    Examples: `envicutor list --status queued`; `envicutor list --tag course=42 --outcome ok -n 100 --json`.

    Exit codes: 0 ok, 2 a filter is none, 7 no answer.
    """
    filters = {"status": status, "outcome": outcome, "tag": tag, "limit": min(most, 200)}
    with client(server) as connected:
        found = connected.list(**filters, created_from=since.isoformat() if since else None)
        listed = list(islice(found, most))
    if as_json:
        for submission in listed:
            typer.echo(submission.model_dump_json())
    else:
        show_table(table(listed, time.time_ns() // 1_000_000))


def table(listed: list[Listed], now_ms: int) -> Table:
    """For 80 columns; ids come whole, so that they can be copied."""
    table = plain_table()
    longest = max((len(submission.id) for submission in listed), default=0)
    table.add_column("id", overflow="fold", no_wrap=longest <= _UUID_CHARACTERS)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("tags", overflow="fold")
    for submission in listed:
        again = f" ({submission.attempt})" if submission.attempt > 1 else ""
        what = (submission.outcome or submission.status) + again
        age_s = (now_ms - milliseconds(submission.created_at)) / 1000
        table.add_row(submission.id, _age(age_s), what, " ".join(submission.tags))
    return table


def _age(age_s: float) -> str:
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if age_s >= seconds:
            return f"{age_s // seconds:.0f} {unit}"
    return f"{max(age_s, 0):.0f} s"
