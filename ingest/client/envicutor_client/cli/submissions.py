"""`envicutor show`, `list` and `cancel`: submissions that exist already."""

import json
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from typing import Annotated

import typer
from rich.table import Table

from envicutor_client import RequestRefusedError
from envicutor_client.calls import dump
from envicutor_client.cli.client import AsJson, Server, client
from envicutor_client.cli.options import moment, one_of, words
from envicutor_client.cli.output import print_note
from envicutor_client.cli.tables import plain_table, show_table
from envicutor_client.models import Listed, Outcome, Status

_UUID_CHARACTERS = 36

Id = Annotated[str, typer.Argument(help="Id of the submission.")]


def show(id: Id, server: Server = None) -> None:
    """Print the present state of a submission as JSON, with the tags and the callback_url of its request.

    Exit codes: 0 ok, 2 no submission has this id, 7 no answer.
    """
    with client(server) as connected:
        shown = dump(connected.get(id))
        with suppress(RequestRefusedError):  # a rejected submission has no request
            request = dump(connected.request(id))
            shown |= {name: request[name] for name in ("tags", "callback_url") if name in request}
    typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))


def cancel(id: Id, server: Server = None) -> None:
    """Cancel a submission, whether it waits or runs.

    Exit codes: 0 cancelled, 2 no submission has this id or it has ended already, 7 no answer.
    """
    with client(server) as connected:
        print_note(f"{connected.cancel(id).status}  {id}")


def list_submissions(
    status: Annotated[
        str | None,
        typer.Option(
            parser=one_of(*words(Status)),
            metavar="STATUS",
            help="Status. A running program has dependencies_installed or compiled.",
        ),
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(
            parser=one_of(*words(Outcome)),
            metavar="OUTCOME",
            help="Outcome, such as ok, run_failed, wrong_output.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag of the request. Repeat the option to require several tags.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Earliest creation; UTC without a zone."),
    ] = None,
    most: Annotated[int, typer.Option("--most", "-n", help="Number of submissions, at most.", min=1)] = 20,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List submissions, newest first: id, age, outcome or status, and tags.

    A number in parentheses is the attempt, if it is not the first.

    Examples: `envicutor list --status queued`; `envicutor list --tag course=42 --outcome ok -n 100 --json`.

    Exit codes: 0 ok, 2 a filter is wrong, 7 no answer.
    """
    filters = {"status": status, "outcome": outcome, "tag": tag, "limit": min(most, 200)}
    with client(server) as connected:
        found = connected.list(**filters, created_from=since and since.isoformat())
        listed = list(islice(found, most))
    if as_json:
        for submission in listed:
            typer.echo(json.dumps(dump(submission), ensure_ascii=False))
    else:
        show_table(table(listed, datetime.now(timezone.utc)))


def table(listed: list[Listed], now: datetime) -> Table:
    """Return a table for 80 columns. Ids are not shortened, so that they can be copied."""
    table = plain_table()
    longest = max((len(submission.id) for submission in listed), default=0)
    short = longest <= _UUID_CHARACTERS
    table.add_column("id", overflow="ellipsis" if short else "fold", no_wrap=short)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("tags", overflow="fold")
    for submission in listed:
        again = f" ({submission.attempt})" if submission.attempt > 1 else ""
        what = (submission.outcome or submission.status) + again
        age_s = (now - moment(submission.created_at)).total_seconds()
        table.add_row(submission.id, _age(age_s), what, " ".join(submission.tags))
    return table


def _age(age_s: float) -> str:
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if age_s >= seconds:
            return f"{age_s // seconds:.0f} {unit}"
    return f"{max(age_s, 0):.0f} s"
