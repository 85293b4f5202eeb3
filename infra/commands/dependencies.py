"""`envicutor dependencies`: sets of dependencies, as the store has them and as this host's Cache has them."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from confluent_kafka import KafkaException

from infra.commands.answers import printable
from infra.commands.broker import BootstrapServers, connect, no_answer
from infra.commands.output import fail, reason, say
from infra.package_sets import EnvironmentsFileError, pin_in_force, read_environments, request_environments
from nix.errors import CacheError
from topics.catalogue import Catalogue, catalogue
from topics.dependencies.state import EnvironmentState
from topics.kafka.clients import EventProducer
from topics.kafka.codec import decode, decode_key
from topics.kafka.scan import read_to_end
from topics.request.limits import MiB
from topics.settings import KafkaSettings
from topics.views.view import View

if TYPE_CHECKING:
    from nix.settings import NixSettings

app = typer.Typer(
    no_args_is_help=True, help="Sets of dependencies: which there are, making and removing them."
)

USAGE = 2
_SHOWN_CHARACTERS = 80
_OF_THE_FOLD = {
    *(
        "fold_version",
        "attempt",
        "charged_attempts",
        "host_faults",
        "allowed_attempts",
        "allowed_host_faults",
    ),
    *("requested_at_ms", "expires_at_ms", "builder"),
}
"""What no reader needs; `list --json` has it all the same."""
HEADER = f"{'id':32}  {'status':9}  {'size':>8}  dependencies"

Id = Annotated[str, typer.Argument(help="As `list` and answers show it.")]


@app.command(name="list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with everything.")] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Print id, status, size and what was asked for, one line a set of dependencies.

    Exit codes: 0 ok, 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    stored = _stored(kafka, catalogue(kafka)).values()
    if not as_json:
        typer.echo(HEADER)
    for state in stored:
        typer.echo(state.model_dump_json() if as_json else line(state))


@app.command()
def show(id: Id, bootstrap_servers: BootstrapServers = None) -> None:
    """Print a set of dependencies as it is now, as JSON: what it needs, where it is, why it failed.

    Exit codes: 0 ok, 2 there is none with this id, 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    state = _find(kafka, catalogue(kafka), id)
    typer.echo(state.model_dump_json(indent=2, exclude=_OF_THE_FOLD, exclude_none=True))


@app.command()
def prebuild(
    file: Annotated[Path, typer.Argument(help='JSON: [{"packages": ["python3"]}, {"pypi": ["a==1.0"]}].')],
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Ask for environments before anybody needs them; prints the id of each, and waits for none.

    Exit codes: 0 ok, 1 no package set is in force, 2 the file is wrong, 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    topics = catalogue(kafka)
    try:
        wanted = read_environments(file)
        pin = pin_in_force(kafka, topics)
        if pin is None:
            fail("no package set is in force: `envicutor packages refresh` makes one", 1)
        for id in request_environments(kafka, topics, pin, wanted):
            typer.echo(id)
        say("follow each with `envicutor dependencies show ID`, or all with `envicutor dependencies list`")
    except EnvironmentsFileError as error:
        fail(str(error), USAGE)
    except KafkaException as error:
        no_answer(kafka, error)


@app.command()
def evict(id: Id, bootstrap_servers: BootstrapServers = None) -> None:
    """Take an environment out of the Cache of this host, unless it is in use. Needs root.

    All hear of it before it goes; other spellings of it go with it. Whoever asks for it has it
    fetched, or built again.

    Exit codes: 0 ok, 1 it is not here, in use, or the base, 2 there is none with this id, 7 no answer.
    """
    if os.geteuid() != 0:
        fail("run as root: the Cache belongs to root", 1)
    kafka = connect(bootstrap_servers)
    topics = catalogue(kafka)
    state = _find(kafka, topics, id)
    if state.status != "installed" or state.store_path is None:
        fail(f"{id} is {state.status}", 1)
    try:
        asyncio.run(_evict(kafka, topics, state.store_path))
    except (CacheError, OSError) as error:
        fail(reason(error), 1)
    except KafkaException as error:
        no_answer(kafka, error)


@app.command()
def publish() -> None:
    """Publish what is installed on this host in the binary cache, for other hosts. Needs root.

    Builders publish what they install. This command is for what was installed before
    ENVICUTOR_BINARY_CACHE_DIR was set. It publishes package sets as well. What is published already stays as
    it is.

    Exit codes: 0 ok, 1 there is no binary cache, it cannot be signed or written, or this is not root.
    """
    if os.geteuid() != 0:
        fail("run as root: the Cache belongs to root", 1)
    try:
        number = asyncio.run(_publish())
    except (CacheError, OSError) as error:
        fail(reason(error), 1)
    say(f"published {number} environments")


def line(state: EnvironmentState) -> str:
    """One for people."""
    asked = state.dependencies
    names = (*(asked.packages or ()), *asked.pypi, *asked.npm)
    what = " ".join(filter(None, (asked.nix, *names))) or "the base"
    size = "" if state.size_bytes is None else f"{state.size_bytes / MiB:.0f} MiB"
    what = " ".join(what.split())
    if len(what) > _SHOWN_CHARACTERS:
        what = f"{what[: _SHOWN_CHARACTERS - 1]}…"
    return printable(f"{state.id:32}  {state.status:9}  {size:>8}  {what}")


def _stored(kafka: KafkaSettings, topics: Catalogue) -> dict[str, EnvironmentState]:
    try:
        values = {decode_key(m): m.value() for m in read_to_end(kafka, topics.dependencies.store.name)}
    except KafkaException as error:
        no_answer(kafka, error)
    return {id: decode(EnvironmentState, value) for id, value in values.items() if value is not None}


def _find(kafka: KafkaSettings, topics: Catalogue, id: str) -> EnvironmentState:
    state = _stored(kafka, topics).get(id)
    if state is None:
        fail(f"there are no dependencies {id!r}", USAGE)
    return state


async def _evict(kafka: KafkaSettings, topics: Catalogue, store_path: str) -> None:
    """Raises CacheError where it cannot go."""
    # Only here: every role's process reads this module.
    from nix.cache import Cache
    from processors.evictions import Evictions
    from processors.runner import SandboxRunner
    from processors.sandbox import Sandboxes, SandboxSettings
    from processors.settings import WorkSettings

    cache = Cache(_nix_settings(kafka), SandboxRunner(Sandboxes(SandboxSettings())))
    if not cache.has(store_path):
        raise CacheError(f"{store_path} is not in the Cache of this host")
    producer = EventProducer(kafka)
    with tempfile.TemporaryDirectory(prefix="envicutor-evict-") as folder:
        view = View(kafka, topics.dependencies.store.name, Path(folder))
        await view.start()
        try:
            host = WorkSettings().host
            evictions = Evictions(topics, view, producer, host=host, source="operator")
            if not await cache.evict(store_path, evictions.announce):
                raise CacheError(f"{store_path} stays: it is in use, or the base")
        finally:
            await view.close()
            producer.close()
    say(f"evicted {store_path}; its disk space is free once the cache needs room")


async def _publish() -> int:
    """Return how many environments were published. Raises CacheError."""
    from nix.cache import Cache
    from nix.package_set import publish as publish_package_sets
    from processors.runner import SandboxRunner
    from processors.sandbox import SandboxError, Sandboxes, SandboxSettings

    nix = _nix_settings(KafkaSettings())
    sandboxes = Sandboxes(SandboxSettings())
    try:
        await sandboxes.start()
    except SandboxError as error:
        raise CacheError(str(error)) from error
    try:
        number = await Cache(nix, SandboxRunner(sandboxes)).publish(say)
        await asyncio.to_thread(publish_package_sets, nix, say)
    finally:
        await sandboxes.close()
    return number


def _nix_settings(kafka: KafkaSettings) -> "NixSettings":
    """Return the settings of the Cache, which is where `up` keeps it unless another place is set."""
    from nix.settings import NixSettings

    nix = NixSettings()
    if "nix_root" in nix.model_fields_set:
        return nix
    return nix.model_copy(update={"nix_root": kafka.data_dir / "nix"})
