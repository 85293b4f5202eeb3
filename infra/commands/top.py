"""`envicutor top`: load and throughput of the system, once or continuously."""

import sys
import time
from collections.abc import Mapping
from typing import Annotated

import typer
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from envicutor_client import Client, UnavailableError
from envicutor_client.cli.answers import printable
from envicutor_client.cli.client import AsJson, Server, client
from envicutor_client.models import Percentiles, System

_PERIOD_S = 1.0
_WORKERS_SHOWN = 20


def top(
    once: Annotated[bool, typer.Option("--once", help="Print the state once, and end.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Show load and throughput of the system, about once a second, until Ctrl-C.

    With --json, print one object per line, as `GET /system` returns it. If standard output is not a terminal,
    print the state only once, except with --json.

    Exit codes: 0 ok, 7 no answer.
    """
    with client(server) as connected:
        seen = connected.system()
        if once or not (as_json or sys.stdout.isatty()):
            _print(seen, as_json=as_json)
        elif as_json:
            while True:
                _print(seen, as_json=True)
                time.sleep(_PERIOD_S)
                seen = connected.system()
        else:
            _watch(connected, seen)


def _print(seen: System, *, as_json: bool) -> None:
    if as_json:
        typer.echo(seen.model_dump_json())
    else:
        Console(highlight=False).print(picture(seen))


def _watch(connected: Client, seen: System) -> None:
    problem = ""
    with Live(picture(seen), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(_PERIOD_S)
            try:
                seen, problem = connected.system(), ""
            except UnavailableError as error:
                problem = printable(str(error))
            live.update(Group(picture(seen), Text(problem, "bold red")), refresh=True)


def picture(seen: System) -> Group:
    """Return the state of the system as text and tables for 80 columns."""
    minute = seen.last_minute
    now = _table("now", "", "")
    for name, value, more in (
        ("waiting", seen.waiting, f"for a worker, the oldest for {_seconds(seen.oldest_waiting_s)}"),
        ("for environments", seen.waiting_for_environment, "wait until these are built"),
        ("running", seen.running, _named({k: n for k, n in seen.unfinished.items() if k != "queued"})),
        ("workers", seen.workers, "that may take submissions"),
        ("leases", seen.leases, "attempts and builds in progress"),
        ("builds", seen.builds.running, f"{seen.builds.waiting} waiting"),
        ("finished", f"{minute.finished_per_s:.1f}/s", f"{minute.finished} in the last minute"),
    ):
        now.add_row(name, str(value), more)
    times = _table("last minute", "p50", "p99")
    times.add_row("waited in the queue", *_times(minute.queue_wait_s))
    times.add_row("request to answer", *_times(minute.answer_s))
    parts: list[RenderableType] = [Text(seen.time, "dim"), "", now, "", times]
    for title, counts in (("outcomes", minute.outcomes), ("running by worker", seen.running_by_worker)):
        if counts:
            parts += ["", _bars(title, counts)]
    return Group(*parts)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    first, *others = columns
    table.add_column(first, min_width=20)
    for column in others:
        table.add_column(column, justify="right" if column or len(table.columns) == 1 else "left")
    return table


def _bars(title: str, counts: Mapping[str, int]) -> Table:
    table = _table(title, "", "")
    shown = list(counts.items())[:_WORKERS_SHOWN]
    most = max(count for _, count in shown)
    for name, count in shown:
        table.add_row(Text(printable(name)), str(count), Text("▇" * round(30 * count / most), "green"))
    if len(counts) > len(shown):
        table.add_row(f"and {len(counts) - len(shown)} more", "", "")
    return table


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _times(times: Percentiles | None) -> tuple[str, str]:
    return ("-", "-") if times is None else (_seconds(times.p50), _seconds(times.p99))


def _seconds(time_s: float) -> str:
    return f"{time_s * 1000:.0f} ms" if time_s < 1 else f"{time_s:.1f} s"
