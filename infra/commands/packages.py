"""`envicutor packages`: the package set whose packages requests may name."""

import sys
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
from infra.commands.output import USAGE, fail, print_note
from infra.package_sets import (
    EnvironmentsFileError,
    prebuilt_environments,
    refresh_package_set,
    request_environments,
)
from infra.settings import LocalSettings
from nix.errors import CacheError
from nix.settings import NixSettings
from topics.catalogue import catalogue
from topics.settings import KafkaSettings

_COLUMNS = ("name", "version", "description")

app = typer.Typer(no_args_is_help=True, help="Search or renew the package set that requests choose from.")


@app.command()
def refresh() -> None:
    """Make a package set of the distribution as it is now, and put it in force. Needs root.

    Submissions that were accepted before keep their package set. The base and the environments of
    ENVICUTOR_PREBUILD and ENVICUTOR_LANGUAGES are built again, from the new packages.

    Exit codes: 0 ok, 1 it cannot be made on this machine, 2 a setting is wrong, 7 Kafka does not answer.
    """
    kafka = KafkaSettings()
    topics = catalogue(kafka)
    try:
        environments = prebuilt_environments(LocalSettings())
        pin = refresh_package_set(kafka, topics, NixSettings(), print_note)
        request_environments(kafka, topics, pin, environments)
    except EnvironmentsFileError as error:
        fail(str(error), USAGE)
    except CacheError as error:
        fail(str(error), 1)
    except KafkaException as error:
        broker.no_answer(kafka, error)
    typer.echo(pin)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="Words of the name or the description.")],
    server: Server = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of packages, at most.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="Number of best matches to skip.")] = 0,
) -> None:
    """Find packages that requests may name, in the package set in force. The best matches come first.

    In a pipe, columns are separated by tabs.

    Exit codes: 0 ok, 2 the query is wrong, or the server requires a key, 7 no answer.
    """
    url, key = target(server)
    parameters: dict[str, str | int] = {"q": query, "limit": limit, "offset": offset}
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
    if sys.stdout.isatty() and rows:
        table = plain_table()
        for column in _COLUMNS:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        show_table(table)
    else:
        for row in rows:
            typer.echo("\t".join(row))
    if not page["total"]:
        print_note(f"no package of {page['package_set']} has these words: try fewer words, or parts of them")
    else:
        print_note(f"{len(page['packages'])} of {page['total']} in {page['package_set']}")
