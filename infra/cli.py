"""Entry point of the command `envicutor`: its subcommands, their help panels and its logging."""

import logging
import os
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from infra.role_process import LOG_FORMAT, ROLES, begin_if_role

# A role logs its first line before the imports below. They take half a second, or seconds on a busy machine.
if __name__ == "__main__" or sys.argv[0].endswith("envicutor"):
    begin_if_role(sys.argv)

from infra.commands import audit, dead_letters, dependencies, keys, packages, producers, roles
from infra.commands.binary_cache_key import binary_cache_key
from infra.commands.doctor import doctor
from infra.commands.known_settings import removed
from infra.commands.output import fail
from infra.commands.rebuild import rebuild
from infra.commands.settings_errors import USAGE, report_settings_errors
from infra.commands.submissions import cancel, list_submissions, show
from infra.commands.submit import submit
from infra.commands.top import top
from infra.commands.up import up
from infra.commands.watch import watch
from infra.settings import LocalSettings


class Commands(TyperGroup):
    """Group of all subcommands. A wrong setting ends each of them with a message instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand that `ctx` names."""
        with report_settings_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Remote code execution on Kafka.",
)
_PROGRAMS, _SYSTEM, _ROLES = "Programs", "The system", "Its processes, as `up` starts them"
_COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    _PROGRAMS: (submit, watch, show, cancel),
    _SYSTEM: (up, doctor, top, rebuild, binary_cache_key),
    _ROLES: roles.ROLES,
}
for panel, commands in _COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command("list", rich_help_panel=_PROGRAMS)(list_submissions)
_GROUPS = {
    _PROGRAMS: {"packages": packages.app},
    _SYSTEM: {
        "keys": keys.app,
        "producers": producers.app,
        "dependencies": dependencies.app,
        "audit": audit.app,
        "dead-letters": dead_letters.app,
    },
}
for panel, groups in _GROUPS.items():
    for name, group in groups.items():
        app.add_typer(group, name=name, rich_help_panel=panel)
_LOGGING = {"up", *ROLES}
"""Commands that log their progress. All others log only warnings, unless ENVICUTOR_LOG_LEVEL is set."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("envicutor"))
        raise typer.Exit


@app.callback()
def configure(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run programs of other people in sandboxes, each with its own dependencies."""
    is_logging = context.invoked_subcommand in _LOGGING
    if is_logging and (reason := removed(os.environ)):
        fail(reason, USAGE)
    settings = LocalSettings()
    level = settings.log_level if is_logging or "log_level" in settings.model_fields_set else logging.WARNING
    logging.basicConfig(level=level, format=LOG_FORMAT)
    # At INFO, uvicorn advises to press Ctrl-C, a key that reaches only `up`.
    for library in ("aiokafka", "httpx", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)


if __name__ == "__main__":
    app()
