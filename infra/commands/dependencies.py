"""`envicutor dependencies`: sets of dependencies in the store, and environments in this host's Cache."""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from confluent_kafka import KafkaException

from envicutor_client.cli.answers import printable
from infra.commands.broker import BootstrapServers, connect, no_answer
from infra.commands.output import USAGE, fail, print_note, reason
from infra.package_sets import EnvironmentsFileError, pin_in_force, read_environments, request_environments
from nix.errors import CacheError
from topics.catalogue import Catalogue, catalogue
from topics.dependencies.facts import FACTS
from topics.dependencies.state import EnvironmentState
from topics.kafka.clients import EventProducer
from topics.kafka.codec import decode, decode_key
from topics.kafka.fact_publisher import FactPublisher
from topics.kafka.scan import read_to_end
from topics.request.languages import UnknownLanguageError, chosen
from topics.request.limits import MiB
from topics.settings import KafkaSettings
from topics.views.view import View

if TYPE_CHECKING:
    from nix.settings import NixSettings

app = typer.Typer(
    no_args_is_help=True, help="Show sets of dependencies, and build, evict or publish environments."
)

_SHOWN_CHARACTERS = 80
_FOLD_FIELDS = {
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
"""Fields of a state that only the fold needs. `show` omits them; `list --json` prints them."""
HEADER = f"{'id':32}  {'status':9}  {'size':>8}  dependencies"

Id = Annotated[str, typer.Argument(help="Id of the set of dependencies, as `list` and answers show it.")]


@app.command(name="list")
def list_all(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line, with all fields.")
    ] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """List sets of dependencies: id, status, size and requested packages, one per line.

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
    """Print the present state of a set of dependencies as JSON: packages, hosts, reason of a failure.

    Exit codes: 0 ok, 2 no dependencies have this id, 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    state = _find(kafka, catalogue(kafka), id)
    typer.echo(state.model_dump_json(indent=2, exclude=_FOLD_FIELDS, exclude_none=True))


@app.command()
def prebuild(
    file: Annotated[
        Path | None, typer.Argument(help='JSON: [{"packages": ["python3"]}, {"pypi": ["a==1.0"]}].')
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Language of `GET /languages`, or `all`. May be repeated.", show_default=False),
    ] = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Request environments before a submission needs them. Print their ids without waiting for the builds.

    Exit codes: 0 ok, 1 no package set is in force, 2 the file or a language is wrong,
    7 Kafka does not answer.
    """
    if file is None and not language:
        fail("give a file, or languages with --language", USAGE)
    kafka = connect(bootstrap_servers)
    topics = catalogue(kafka)
    try:
        wanted = [preset.dependencies for preset in chosen(language or ())]
        wanted += read_environments(file) if file else ()
        pin = pin_in_force(kafka, topics)
        if pin is None:
            fail("no package set is in force: `envicutor packages refresh` makes one", 1)
        for id in request_environments(kafka, topics, pin, wanted):
            typer.echo(id)
        print_note(
            "follow each with `envicutor dependencies show ID`, or all with `envicutor dependencies list`"
        )
    except (EnvironmentsFileError, UnknownLanguageError) as error:
        fail(str(error), USAGE)
    except KafkaException as error:
        no_answer(kafka, error)


@app.command()
def evict(id: Id, bootstrap_servers: BootstrapServers = None) -> None:
    """Evict an environment from the Cache of this host, unless it is in use. Needs root.

    The eviction is published before the environment is removed. Other sets of dependencies with the same
    environment are evicted with it. A later submission has it fetched or built again.

    Exit codes: 0 ok, 1 it is not in this Cache, in use, or the base, 2 no dependencies have this id,
    7 Kafka does not answer.
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
    """Publish the environments of this host in the binary cache, for other hosts. Needs root.

    Builders publish the environments that they install. This command is for those that were installed before
    ENVICUTOR_BINARY_CACHE_DIR was set. It publishes package sets as well, and skips those that are published
    already.

    Exit codes: 0 ok, 1 there is no binary cache, it cannot be signed or written, or the user is not root.
    """
    if os.geteuid() != 0:
        fail("run as root: the Cache belongs to root", 1)
    try:
        number = asyncio.run(_publish())
    except (CacheError, OSError) as error:
        fail(reason(error), 1)
    print_note(f"published {number} environments")


def line(state: EnvironmentState) -> str:
    """Return a set of dependencies as a line of text."""
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
    """Evict an environment from the Cache of this host, and publish that.

    Raises:
        CacheError: the environment is not in the Cache, in use, or the base.
    """
    # Imported here, since every role's process imports this module.
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
            events = FactPublisher(producer, topics.dependencies.events.name, FACTS, "operator")
            evictions = Evictions(view, events, host=host)
            if not await cache.evict(store_path, evictions.announce):
                raise CacheError(f"{store_path} stays: it is in use, or the base")
        finally:
            await view.close()
            producer.close()
    print_note(f"evicted {store_path}; its disk space is free once the cache needs room")


async def _publish() -> int:
    """Publish the environments and package sets of this host, and return the number of environments.

    Raises:
        CacheError: there is no binary cache, it cannot be written, or this host runs no sandboxes.
    """
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
        number = await Cache(nix, SandboxRunner(sandboxes)).publish(print_note)
        await asyncio.to_thread(publish_package_sets, nix, print_note)
    finally:
        await sandboxes.close()
    return number


def _nix_settings(kafka: KafkaSettings) -> "NixSettings":
    """Return the settings of the Cache. Unless one is set, its folder is the one that `up` uses."""
    from nix.settings import NixSettings

    nix = NixSettings()
    if "nix_root" in nix.model_fields_set:
        return nix
    return nix.model_copy(update={"nix_root": kafka.data_dir / "nix"})
