import subprocess
import sys

import pytest
import typer

from infra.cli import app
from infra.role_process import ROLES

HEAVY = ("httpx", "rich.console", "fastapi", "faust", "debian", "cryptography", "processors", "nix")
"""Modules that some commands need, with some MiB of memory each."""
LOADED = f"""
import sys, typer
from infra.cli import app
typer.main.get_command(app).commands["{{role}}"]
print(*(name for name in {HEAVY} if name in sys.modules))
"""


def test_every_command_of_the_help_is_there() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {*ROLES} < {*commands}
    assert [command.name for command in commands.values()] == [*commands]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_does_not_import_what_other_commands_need(role: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", LOADED.format(role=role)], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []
