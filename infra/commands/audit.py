"""`envicutor audit`: history of submissions, and comparison of the stores with the log."""

import gc
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from infra.commands.broker import BootstrapServers, connect, no_answer
from infra.commands.event_files import Format, MissingLibraryError, write_events
from infra.commands.output import USAGE, fail, print_note
from processors.health_checker.settings import HealthCheckerSettings
from topics.aggregate import Aggregate, aggregates
from topics.audit.folded_states import export, stores_at
from topics.audit.history import AuditedEvent, read_history
from topics.audit.repair import repair
from topics.audit.replay import Difference
from topics.audit.sealed import Sealing, Seals, read_seals
from topics.audit.signing import public_key, public_key_file
from topics.audit.verify import Findings, verify
from topics.catalogue import catalogue
from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings
from topics.times import milliseconds, rfc3339

app = typer.Typer(no_args_is_help=True, help="Show events from the log, and compare the stores with it.")

Time = Annotated[str, typer.Argument(help="ISO 8601, such as 2026-01-31T12:00:00Z; UTC if no zone is given.")]
PublicKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key",
        help="File with the sealer's public key, from `audit key`. Default: the key of this machine.",
    ),
]
_EXCERPT_CHARACTERS = 60
_GC_THRESHOLD = 200_000
"""Allocations between collections of reference cycles. With Python's default they take a quarter of the time,
although facts and states have no cycles."""


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="Id of a submission or a set of dependencies.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Print all events of an id, one per line.

    Exit codes: 0 ok, 2 the log has no event of this id, 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    try:
        events = [event for aggregate in _aggregates(kafka) for event in read_history(kafka, aggregate, id)]
    except KafkaException as error:
        no_answer(kafka, error)
    if not events:
        fail(f"the log has no event of {id!r}", USAGE)
    for event in events:
        typer.echo(event.model_dump_json() if as_json else line(event))


@app.command(name="verify")
def verify_all(
    expire_leases: Annotated[
        bool,
        typer.Option("--repair", help="Let the leases of stuck attempts expire, so that they are retried."),
    ] = False,
    public_keys: PublicKeys = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Fold the log again, compare it with the stores and the seals, and list attempts without an owner.

    Exit codes: 0 clean, 1 something is (or was) wrong, 2 no key for the seals, 7 Kafka does not answer.
    """
    lease_timeout_s = HealthCheckerSettings().lease_timeout_s
    gc.set_threshold(_GC_THRESHOLD)
    kafka = connect(bootstrap_servers)
    seals = _seals(kafka, public_keys)
    for flaw in seals.flaws:
        typer.echo(flaw)
    clean = not seals.flaws
    for aggregate in _aggregates(kafka):
        try:
            findings = verify(kafka, aggregate, seals, lease_timeout_s, print_note)
            if expire_leases and findings.unowned_attempts:
                repair(kafka, aggregate, findings.unowned_attempts)
                print_note(
                    f"{aggregate.name}: published that the leases of stuck attempts expired; verify again"
                )
        except KafkaException as error:
            no_answer(kafka, error)
        for text in report(aggregate.name, findings):
            typer.echo(text)
        clean = clean and findings.clean
    typer.echo("clean" if clean else "not clean")
    raise typer.Exit(0 if clean else 1)


@app.command()
def key() -> None:
    """Print the public key of this machine's sealer, for `audit verify --public-key` on other machines.

    Exit codes: 0 ok, 2 no sealer has run on this machine.
    """
    file = public_key_file(KafkaSettings().data_dir)
    try:
        typer.echo(file.read_text(), nl=False)
    except OSError as error:
        fail(f"there is no key at {file}: {error.strerror}", USAGE)


@app.command()
def at(
    time: Time,
    id: Annotated[str | None, typer.Argument(help="Id of a submission or a set of dependencies.")] = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Print the stores as they were at a time, folded from the log alone: one JSON object per line.

    Exit codes: 0 ok, 2 not a time, or the stores did not have this id then, 7 Kafka does not answer.
    """
    time_ms, kafka = _milliseconds(time), connect(bootstrap_servers)
    found = False
    try:
        for aggregate in _aggregates(kafka):
            states = stores_at(aggregate, read_to_end(kafka, aggregate.family.events.name), time_ms)
            for key in sorted(states if id is None else states.keys() & {id}):
                typer.echo(f'{{"subject":"{aggregate.name}","state":{states[key].decode()}}}')
                found = True
    except KafkaException as error:
        no_answer(kafka, error)
    if id is not None and not found:
        fail(f"the stores did not have {id!r} at {rfc3339(time_ms)}", USAGE)


@app.command(name="export")
def export_all(
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Time of the first event.")
    ] = "1970-01-01",
    until: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Time that all events precede.")
    ] = "9999-01-01",
    format: Annotated[Format, typer.Option(help="One JSON object per line, or Parquet.")] = Format.JSONL,
    output: Annotated[Path | None, typer.Option(help="File to write. Default: standard output.")] = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Export events, each with its effect on the state, in the order of each partition.

    Exit codes: 0 ok, 1 the file cannot be written, 2 not a time, or no library for Parquet, 7 Kafka does not
    answer.
    """
    from_ms, to_ms, kafka = _milliseconds(since), _milliseconds(until), connect(bootstrap_servers)
    events = (
        event
        for aggregate in _aggregates(kafka)
        for event in export(aggregate, read_to_end(kafka, aggregate.family.events.name), from_ms, to_ms)
    )
    try:
        with output.open("wb") if output else nullcontext(sys.stdout.buffer) as file:
            write_events(events, format, file)
    except KafkaException as error:
        no_answer(kafka, error)
    except MissingLibraryError as error:
        fail(str(error), USAGE)
    except BrokenPipeError:
        raise  # the reader closed the pipe, so the command ends without a message
    except OSError as error:
        fail(f"cannot write {output or 'to standard output'}: {error.strerror}", 1)


def line(event: AuditedEvent) -> str:
    """Return one event as a line of text."""
    kind = event.type.removeprefix("envicutor.").removesuffix(".v1")
    attempt = "" if event.attempt is None else f"attempt {event.attempt}"
    columns = f"{event.time}  {kind:36}  {attempt:10}  {event.source.removeprefix('/envicutor/'):32}"
    named = f"  {event.worker}" if event.worker and event.worker not in event.source else ""
    return f"{columns}{named}  {event.disposition}"


def report(name: str, findings: Findings) -> list[str]:
    """Return the findings as lines of text: counts, the first difference, seals, and work that is wrong."""
    counts = (
        f"{name}: {findings.events} events folded, {findings.refused} of them refused, "
        f"{findings.stored} stored, {findings.unfinished} unfinished, "
        f"{findings.waiting} with events to be folded, {findings.unreadable} unreadable events"
    )
    lines = [counts]
    if older := findings.rows_before_log_start:
        lines.append(f"{name}: {older} stored records are older than the log, and were not compared")
    if findings.differences:
        lines.append(
            f"{name}: the store differs from the log in {len(findings.differences)} records, the first:"
        )
        lines += [f"  {text}" for text in describe(findings.differences[0])]
    if findings.owed:
        lines.append(f"{name}: {findings.owed} attempts wait for their turn, or are on their way to a worker")
    lines += sealing(name, findings.sealing)
    lines += [f"{name}: {id} is on the queue, but was not requested" for id in findings.unrequested]
    stuck = (f"{name}: {id} attempt {attempt} is stuck" for id, attempt in findings.unowned_attempts)
    return [*lines, *(f"{text}: neither finished, queued nor leased" for text in stuck)]


def sealing(name: str, found: Sealing) -> list[str]:
    """Return the differences between log and seals, and the ends of the sealed ranges, as lines of text."""
    expired = (
        [f"{name}: of {found.expired} sealed ranges events are gone by retention"] if found.expired else []
    )
    unsealed = f"{name}: {found.unsealed} events are not sealed yet"
    return [f"{name}: {text}" for text in (*found.flaws, *found.sealed)] + [*expired, unsealed]


def describe(difference: Difference) -> list[str]:
    """Return the place at which the store begins to differ from the log, with an excerpt of both."""
    expected, found = difference.expected, difference.found
    if expected is None or found is None:
        where = "is in the store only" if expected is None else "is missing in the store"
        return [f"{difference.id} {where}"]
    pairs = enumerate(zip(expected, found, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(found)))
    return [
        f"{difference.id} differs from byte {at} on",
        f"log:   {_excerpt(expected, at)}",
        f"store: {_excerpt(found, at)}",
    ]


def _excerpt(value: bytes, at: int) -> str:
    start = max(0, at - _EXCERPT_CHARACTERS // 2)
    text = value[start : at + _EXCERPT_CHARACTERS].decode(errors="backslashreplace")
    return f"…{text}…"


def _milliseconds(time: str) -> int:
    try:
        return milliseconds(time)
    except ValueError:
        fail(f"{time!r} is not a time, such as 2026-01-31T12:00:00Z", USAGE)


def _seals(kafka: KafkaSettings, files: list[Path] | None) -> Seals:
    own = public_key_file(kafka.data_dir)
    files = files or ([own] if own.exists() else [])
    try:
        keys = tuple(public_key(file) for file in files)
    except (OSError, ValueError) as error:
        fail(f"no public key can be read: {error}", USAGE)
    try:
        seals = read_seals(read_to_end(kafka, catalogue(kafka).seals.name), keys)
    except KafkaException as error:
        no_answer(kafka, error)
    if seals.flaws and not keys:
        fail("the log is sealed, and there is no public key to verify it with: give --public-key", USAGE)
    return seals


def _aggregates(kafka: KafkaSettings) -> tuple[Aggregate, Aggregate]:
    return aggregates(catalogue(kafka))
