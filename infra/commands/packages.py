"""`envicutor packages`: the package sets whose packages requests may name."""

import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

import httpx
import typer
from confluent_kafka import KafkaException

from envicutor_client.calls import authorization
from envicutor_client.cli.answers import printable
from envicutor_client.cli.client import NO_ANSWER, Server, needs_key, no_answer, target
from envicutor_client.cli.tables import plain_table, show_table
from envicutor_client.failures import why_no_response
from infra.commands import broker
from infra.commands.broker import BootstrapServers
from infra.commands.output import USAGE, fail, print_note
from infra.package_sets import (
    EnvironmentsFileError,
    package_set_names,
    prebuilt_environments,
    refresh_package_sets,
    request_environments,
    sets_in_force,
)
from infra.settings import LocalSettings
from nix.errors import CacheError
from nix.settings import NixSettings
from topics.catalogue import catalogue
from topics.settings import KafkaSettings

_COLUMNS = ("name", "version", "description")

app = typer.Typer(
    no_args_is_help=True, help="List, search or renew the package sets that requests choose from."
)


@app.command(name="list")
def list_all(bootstrap_servers: BootstrapServers = None) -> None:
    """List the package sets that requests may name: name, pin, time of publication. The first is the default.

    In a pipe, columns are separated by tabs.

    Exit codes: 0 ok, 7 Kafka does not answer.
    """
    kafka = broker.connect(bootstrap_servers)
    try:
        sets = sets_in_force(kafka, catalogue(kafka))
    except KafkaException as error:
        broker.no_answer(kafka, error)
    default = next(iter(sets), None)
    _print_rows(
        ("name", "pin", "created_at", ""),
        [
            [name, record.pin, record.created_at, "default" if name == default else ""]
            for name, record in sets.items()
        ],
    )
    if not sets:
        print_note("no package set is in force: `envicutor packages refresh` makes one")


@app.command()
def refresh(
    name: Annotated[
        str | None,
        typer.Argument(help="Package set, such as debian-13. By default all of ENVICUTOR_PACKAGE_SETS."),
    ] = None,
) -> None:
    """Make package sets of the distribution as it is now, and put them in force. Needs root.

    Prints their pins. Submissions that were accepted before keep their package set. The base and the
    environments of ENVICUTOR_PREBUILD and ENVICUTOR_LANGUAGES are built again, from the new packages of the
    default set.

    Exit codes: 0 ok, 1 a set cannot be made on this machine, 2 a setting or the name is wrong, 7 Kafka does
    not answer.
    """
    kafka, nix = KafkaSettings(), NixSettings()
    topics = catalogue(kafka)
    names = package_set_names(nix)
    if name not in (None, *names):
        fail(f"{name!r} is not in ENVICUTOR_PACKAGE_SETS: there are {', '.join(names)}", USAGE)
    try:
        environments = prebuilt_environments(LocalSettings())
        pins = refresh_package_sets(kafka, topics, nix, print_note, only=name)
        if default := pins.get(names[0]):
            request_environments(kafka, topics, default, environments)
    except EnvironmentsFileError as error:
        fail(str(error), USAGE)
    except CacheError as error:
        fail(str(error), 1)
    except KafkaException as error:
        broker.no_answer(kafka, error)
    for pin in pins.values():
        typer.echo(pin)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="Words of the name or the description.")],
    server: Server = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of packages, at most.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="Number of best matches to skip.")] = 0,
    package_set: Annotated[
        str | None, typer.Option("--set", help="Name of the package set. By default the default one.")
    ] = None,
) -> None:
    """Find packages that requests may name, in a package set in force. The best matches come first.

    In a pipe, columns are separated by tabs.

    Exit codes: 0 ok, 2 the query or the package set is wrong, or the server requires a key, 7 no answer.
    """
    url, key = target(server)
    parameters: dict[str, str | int] = {"q": query, "limit": limit, "offset": offset}
    if package_set is not None:
        parameters["package_set"] = package_set
    try:
        with httpx.Client(base_url=url, headers=authorization(key), trust_env=False) as http:
            answer = http.get("/packages", params=parameters, timeout=20.0)
        page = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        no_answer(f"no answer from {url}: {why_no_response(error)}", error)
    if answer.status_code == HTTPStatus.UNAUTHORIZED and not key:
        needs_key()
    if not answer.is_success:
        fail(page["detail"], USAGE if answer.is_client_error else NO_ANSWER)
    rows = [[printable(package[column]) for column in _COLUMNS] for package in page["packages"]]
    _print_rows(_COLUMNS, rows)
    if not page["total"]:
        print_note(f"no package of {page['package_set']} has these words: try fewer words, or parts of them")
    else:
        print_note(f"{len(page['packages'])} of {page['total']} in {page['package_set']}")


def _print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; in a pipe, a line for each row, with tabs between its columns."""
    if sys.stdout.isatty() and rows:
        table = plain_table()
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        show_table(table)
    else:
        for row in rows:
            typer.echo("\t".join(row))
