"""`envicutor packages`: the package set that requests are accepted under."""

import typer

from infra.commands.output import fail, say
from infra.package_sets import refresh_package_set, request_base
from nix.errors import CacheError
from nix.settings import NixSettings
from topics.catalogue import catalogue
from topics.settings import KafkaSettings

app = typer.Typer(no_args_is_help=True, help="The package set that requests are accepted under.")


@app.callback()
def _packages() -> None:
    """A callback keeps `refresh` a subcommand while it is the only one."""


@app.command()
def refresh() -> None:
    """Make a package set of the distribution as it is now, and put it in force. Needs root.

    Submissions that were accepted before keep theirs.
    """
    kafka = KafkaSettings()
    topics = catalogue(kafka)
    try:
        pin = refresh_package_set(kafka, topics, NixSettings(), say)
        request_base(kafka, topics, pin)
    except CacheError as error:
        fail(str(error), 1)
    typer.echo(pin)
