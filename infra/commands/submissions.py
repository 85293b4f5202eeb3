"""`envicutor show`, `list` and `cancel`."""

from datetime import datetime
from itertools import islice
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from infra.commands.client import AsJson, Server, client
from infra.commands.output import say
from ingest.models import Listed

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
    """List submissions, newest first.

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
        Console(highlight=False).print(_table(listed))


def _table(listed: list[Listed]) -> Table:
    table = Table(box=box.SIMPLE)
    for column in ("id", "created", "what", "attempt", "tags"):
        table.add_column(column, no_wrap=column in {"id", "created"})
    for submission in listed:
        table.add_row(
            submission.id,
            submission.created_at,
            submission.outcome or submission.status,
            str(submission.attempt),
            " ".join(submission.tags),
        )
    return table
