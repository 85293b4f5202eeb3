"""Generator of docs/cli.md, the reference of the command `envicutor`, by means of Typer."""

import html
import re
from typing import Any

import typer
from typer.cli import get_docs_for_click

from envicutor_client.cli.client import CONFIG_FILE
from infra.cli import app

_NOTE = "<!-- Generated from the commands by `make docs`. Do not edit. -->\n"


def document() -> str:
    """Return the text of docs/cli.md, which is the same for every user."""
    command = typer.main.get_command(app)
    _shorten_to_paragraphs(command)
    _name_arguments(command)
    context = typer.Context(command)
    text = get_docs_for_click(obj=command, ctx=context, name="envicutor", title="Commands")
    text = re.sub(
        r"\{([A-Z]+)\}", r"\1", text
    )  # Typer marks required arguments so, which looks like a choice
    text = text.replace(str(CONFIG_FILE), "~/.config/envicutor/client.toml")
    return _NOTE + html.unescape(text).rstrip() + "\n"  # entities are not decoded in Markdown's code spans


def _name_arguments(command: Any) -> None:
    """Show arguments as `PATH`, as manuals do."""
    for parameter in command.params:
        if parameter.param_type_name == "argument" and parameter.metavar is None:
            parameter.metavar = parameter.name.upper()
    for below in getattr(command, "commands", {}).values():
        _name_arguments(below)


def _shorten_to_paragraphs(command: Any) -> None:
    """Make the first paragraph of each command its summary, which Typer would cut after 45 characters."""
    command.short_help = " ".join((command.help or "").split("\n\n")[0].split())
    for below in getattr(command, "commands", {}).values():
        _shorten_to_paragraphs(below)
