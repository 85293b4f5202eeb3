"""`envicutor keys`: API keys, which HTTP requires if ENVICUTOR_HTTP_KEYS is on."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated

import httpx
import typer
from confluent_kafka import KafkaException, Message

from envicutor_client.cli.answers import printable
from envicutor_client.cli.client import target
from envicutor_client.cli.options import one_of
from infra.api_keys import put_key
from infra.commands.broker import BootstrapServers, connect, no_answer
from infra.commands.options import KeyCeiling, a_ceiling
from infra.commands.output import USAGE, fail, print_note
from topics.catalogue import catalogue
from topics.kafka.codec import decode, decode_key
from topics.kafka.scan import read_to_end
from topics.request.ceilings import Ceilings, range_of
from topics.security.api_keys import ApiKey, Quotas, Scope, digest, new_id, new_key
from topics.settings import KafkaSettings
from topics.times import now, now_ms, rfc3339
from topics.topic import DAY_MS

app = typer.Typer(
    no_args_is_help=True, help="Manage API keys, which HTTP requires if ENVICUTOR_HTTP_KEYS is on."
)

_LOOK_S = 2.0
_SCOPES = (Scope.SUBMIT, Scope.READ)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Owner or purpose of the key, for people.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(*Scope),
            metavar="SCOPE",
            help="Right of the key: submit (and cancel its own submissions), read (its own), read-all (those "
            "of all owners), operate (cancel any, metrics). Repeat the option for several. Default: submit "
            "and read.",
            show_default=False,
        ),
    ] = None,
    reads_hidden: Annotated[
        bool,
        typer.Option(
            "--reads-hidden",
            help="Show the key what hidden test cases contain and print, of submissions that it may read.",
        ),
    ] = False,
    requests_per_s: Annotated[
        float | None,
        typer.Option(help="Average rate of requests to a node. Default: no bound.", min=0.001),
    ] = None,
    burst: Annotated[
        int | None, typer.Option(help="Requests at once. Default: those of 2 s at the average rate.", min=1)
    ] = None,
    unfinished: Annotated[
        int | None, typer.Option(help="Unfinished submissions, at most. Default: no bound of its own.", min=1)
    ] = None,
    ceiling: Annotated[
        list[KeyCeiling] | None,
        typer.Option(
            parser=a_ceiling,
            metavar="LIMIT=VALUE",
            help="Highest value of a limit in the key's requests, such as run.wall_time_s=5. Repeat the "
            "option for several. Default: the ceilings of the system.",
            show_default=False,
        ),
    ] = None,
    expires_in_days: Annotated[
        float | None, typer.Option(help="Days until the key expires. Default: never.", min=0.001)
    ] = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Create an API key and print it. All nodes accept it at once.

    Only its SHA-256 is stored, so the key cannot be printed again.
    The id of the key is the owner of the submissions that are made with it.

    Examples: `envicutor keys create judge --unfinished 100 --reads-hidden`;
    `envicutor keys create prometheus --scope operate`.

    Exit codes: 0 ok, 7 Kafka does not answer.
    """
    at_once = burst or math.ceil(2 * (requests_per_s or 0)) or 1
    record = ApiKey(
        id=new_id(),
        name=name,
        scopes=tuple(dict.fromkeys(map(Scope, scope or _SCOPES))),
        reads_hidden=reads_hidden,
        quotas=Quotas(
            requests_per_s=requests_per_s,
            burst=at_once,
            unfinished=unfinished,
            ceilings=dict(ceiling or ()),
        ),
        created_at=now(),
        expires_at=None if expires_in_days is None else _in_days(expires_in_days),
    )
    key, kafka = new_key(), connect(bootstrap_servers)
    _put(kafka, digest(key), record)
    for note in without_effect(record.quotas.ceilings, kafka.ceilings):
        print_note(note)
    allowed = "; ".join([", ".join(_rights(record)), *_bounds(record)])
    print_note(f"key {record.id} of {printable(name)}: {allowed}; it is shown only this once:")
    typer.echo(key)
    if url := _open_to_all():
        print_note(f"{url} requires no keys yet: start it with ENVICUTOR_HTTP_KEYS=true")


def _open_to_all() -> str | None:
    """Return the URL of the server that commands use, if it answers requests without a key."""
    url, _ = target(None)
    with suppress(httpx.HTTPError):
        if httpx.get(f"{url}/submissions?limit=1", trust_env=False, timeout=_LOOK_S).is_success:
            return url
    return None


@app.command(name="list")
def list_all(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line, with all fields.")
    ] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """List keys: id, state, name, scopes and quotas, one per line.

    `reads-hidden` among the scopes stands for the right of `create --reads-hidden`.

    Exit codes: 0 ok, 7 Kafka does not answer.
    """
    for record in _stored(connect(bootstrap_servers)).values():
        typer.echo(record.model_dump_json() if as_json else line(record))


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="Id of the key, as `list` shows it.")],
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Revoke a key at all nodes at once. Its submissions continue.

    Exit codes: 0 ok, also if the key was revoked before; 2 no key has this id, 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    found = _find(kafka, id)
    for hashed, record in found.items():
        _revoke(kafka, hashed, record)
    print_note(f"key {id} of {printable(next(iter(found.values())).name)} is revoked")


@app.command()
def rotate(
    id: Annotated[str, typer.Argument(help="Id of the key, as `list` shows it.")],
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Replace an API key: create another with the same id, print it, and revoke the old one.

    Scopes and quotas stay as well. The new key owns the submissions of the old one. It cannot be printed
    again.

    Exit codes: 0 ok, 2 no active key has this id, 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    found = {h: record for h, record in _find(kafka, id).items() if record.state(now()) == "active"}
    if not found:
        fail(f"key {id} is revoked or expired: create another one with `envicutor keys create`", USAGE)
    key, kept = new_key(), next(iter(found.values()))
    _put(kafka, digest(key), kept.replace(created_at=now()))
    for hashed, record in found.items():
        _revoke(kafka, hashed, record)
    print_note(f"another key {id} of {printable(kept.name)}; it is shown only this once:")
    typer.echo(key)


def line(record: ApiKey) -> str:
    """Return a key as a line of text."""
    columns = f"{record.id}  {record.state(now()):7}  {record.name:24}  {','.join(_rights(record)):24}"
    return printable(f"{columns}  {'; '.join(_bounds(record))}".rstrip()).replace("\n", "\\n")


def without_effect(of_key: Mapping[str, float], ceilings: Ceilings) -> Iterator[str]:
    """Yield a note for each ceiling of a key that is not below that of the system."""
    for path, value in of_key.items():
        allowed = range_of(path.split("."), ceilings)
        if allowed and value >= allowed.ceiling:
            yield (
                f"{path}={value} has no effect, unless the system's ENVICUTOR_CEILINGS allows more than "
                f"{allowed.ceiling}"
            )


def _bounds(record: ApiKey) -> tuple[str, ...]:
    quotas = record.quotas
    bounds = (
        f"{quotas.requests_per_s:g}/s, {quotas.burst} at once" if quotas.requests_per_s else "",
        f"{quotas.unfinished} unfinished" if quotas.unfinished else "",
        *(f"{path} at most {value}" for path, value in quotas.ceilings.items()),
        f"until {record.expires_at}" if record.expires_at else "",
    )
    return tuple(filter(None, bounds))


def _rights(record: ApiKey) -> tuple[str, ...]:
    return (*record.scopes, "reads-hidden") if record.reads_hidden else record.scopes


def _in_days(days: float) -> str:
    return rfc3339(now_ms() + round(days * DAY_MS))


def _stored(kafka: KafkaSettings) -> Mapping[str, ApiKey]:
    """Return the stored keys by digest, the oldest first."""
    found: dict[str, Message] = {}
    try:
        for message in read_to_end(kafka, catalogue(kafka).api_keys.name):
            found[decode_key(message)] = message
    except KafkaException as error:
        no_answer(kafka, error)
    keys = {hashed: decode(ApiKey, message.value()) for hashed, message in found.items()}
    return dict(sorted(keys.items(), key=lambda item: item[1].created_at))


def _find(kafka: KafkaSettings, id: str) -> Mapping[str, ApiKey]:
    """Return the stored keys of an id by digest: several if a key was rotated. Exit if there is none."""
    found = {hashed: record for hashed, record in _stored(kafka).items() if record.id == id}
    if not found:
        fail(f"there is no key {id[:80]!r}: `envicutor keys list` shows all", USAGE)
    return found


def _revoke(kafka: KafkaSettings, hashed: str, record: ApiKey) -> None:
    if record.revoked_at is None:
        _put(kafka, hashed, record.replace(revoked_at=now()))


def _put(kafka: KafkaSettings, hashed: str, record: ApiKey) -> None:
    try:
        put_key(kafka, hashed, record)
    except KafkaException as error:
        no_answer(kafka, error)
