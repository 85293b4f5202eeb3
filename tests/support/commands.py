"""Commands of `envicutor`, run in this process."""

from typer.testing import CliRunner

from infra.cli import app


def run_command(*arguments: str, **environment: str) -> tuple[int, str]:
    """Return exit code and output of a command; variables are named without their prefix."""
    result = CliRunner().invoke(app, arguments, env={f"ENVICUTOR_{n}": v for n, v in environment.items()})
    return result.exit_code, result.output
