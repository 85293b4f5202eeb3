"""Entry point of the command `envicutor`: its subcommands, their help panels and its logging."""

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from infra.role_process import LOG_FORMAT, ROLES, begin_if_role

# A role logs its first line before the imports below, which take seconds on a busy machine.
if __name__ == "__main__" or sys.argv[0].endswith("envicutor"):
    begin_if_role(sys.argv)

from infra.commands.output import USAGE, fail
from infra.commands.removed_settings import removed
from infra.commands.settings_errors import report_settings_errors
from infra.settings import LocalSettings

_PROGRAMS, _SYSTEM, _ROLES = "Programs", "The system", "Its processes, as `up` starts them"
_CLIENT, _SERVER = "envicutor_client.cli", "infra.commands"
_COMMANDS: dict[str, tuple[str, str]] = {
    "submit": (_PROGRAMS, f"{_CLIENT}.submit:submit"),
    "run": (_PROGRAMS, f"{_CLIENT}.run:run"),
    "watch": (_PROGRAMS, f"{_CLIENT}.watch:watch"),
    "show": (_PROGRAMS, f"{_CLIENT}.submissions:show"),
    "cancel": (_PROGRAMS, f"{_CLIENT}.submissions:cancel"),
    "up": (_SYSTEM, f"{_SERVER}.up:up"),
    "init": (_SYSTEM, f"{_SERVER}.init:init"),
    "doctor": (_SYSTEM, f"{_SERVER}.doctor:doctor"),
    "top": (_SYSTEM, f"{_SERVER}.top:top"),
    "rebuild": (_SYSTEM, f"{_SERVER}.rebuild:rebuild"),
    "binary-cache-key": (_SYSTEM, f"{_SERVER}.binary_cache_key:binary_cache_key"),
    **{role: (_ROLES, f"{_SERVER}.roles:{role.replace('-', '_')}") for role in ROLES},
    "list": (_PROGRAMS, f"{_CLIENT}.submissions:list_submissions"),
    "languages": (_PROGRAMS, f"{_CLIENT}.languages:languages"),
    "packages": (_PROGRAMS, f"{_SERVER}.packages:app"),
    "keys": (_SYSTEM, f"{_SERVER}.keys:app"),
    "producers": (_SYSTEM, f"{_SERVER}.producers:app"),
    "dependencies": (_SYSTEM, f"{_SERVER}.dependencies:app"),
    "audit": (_SYSTEM, f"{_SERVER}.audit:app"),
    "dead-letters": (_SYSTEM, f"{_SERVER}.dead_letters:app"),
}
"""Help panel of each subcommand, and `MODULE:NAME` of its function or group."""
_LOGGING = {"up", *ROLES}
"""Commands that log their progress. All others log only warnings, unless ENVICUTOR_LOG_LEVEL is set."""


class LazyCommands(Mapping[str, Any]):
    """Subcommands by name. The modules of a subcommand are imported when it is looked up.

    The modules of all subcommands take 20 MiB, which each process of a role would have.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, *_COMMANDS[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


def _load(name: str, panel: str, place: str) -> Any:
    module, attribute = place.split(":")
    found = getattr(importlib.import_module(module), attribute)
    group = typer.Typer()
    if isinstance(found, typer.Typer):
        group.add_typer(found, name=name, rich_help_panel=panel)
    else:
        group.command(name, rich_help_panel=panel)(found)
    return typer.main.get_group(group).commands[name]


class Commands(TyperGroup):
    """Group of all subcommands. A wrong setting ends each of them with a message instead of a traceback."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, LazyCommands())  # Typer only reads them

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
