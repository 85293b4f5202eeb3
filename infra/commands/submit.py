"""`envicutor submit` and `envicutor show`."""

import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console

from infra.commands import output_files
from infra.commands.answers import EXIT_CODES, print_answer, printable, verdict
from infra.commands.output import fail, say
from infra.commands.requests import read_request
from ingest.client import LONGEST_WAIT_S, Client, RefusedError, UnavailableError
from topics.submissions.state import FINAL, Answer

USAGE = 2
NO_ANSWER = 7


class ClientSettings(BaseSettings):
    """Where the commands find the system."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    server: str = "http://127.0.0.1:8000"


Server = Annotated[
    str | None,
    typer.Option(help="Where ingest listens; else ENVICUTOR_SERVER.", show_default=ClientSettings().server),
]


def submit(
    path: Annotated[str, typer.Argument(help="A directory, a JSON request, or - for standard input.")],
    server: Server = None,
    timeout_s: Annotated[float, typer.Option(help="How long to wait for the answer.", min=0.1)] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    output_dir: Annotated[
        Path | None, typer.Option(help="A new directory for the output files that come back.")
    ] = None,
) -> None:
    """Submit a program, wait, print the answer.

    A directory is sent as files; its submission.json, if any, has the request's other fields.

    Exit codes: 0 ok, 1 run_failed or wrong_output, 2 usage, 3 compile_failed, 4 dependencies_failed,
    5 internal_error, 6 cancelled or rejected, 7 no answer.
    """
    try:
        request = read_request(path)
        if output_dir is not None:
            output_files.check_new(output_dir)
    except (ValueError, OSError) as error:
        fail(str(error), USAGE)
    deadline = time.monotonic() + timeout_s
    with Client(server or ClientSettings().server) as client:
        try:
            answer = client.submit(request, wait_s=min(timeout_s, LONGEST_WAIT_S))
            if answer.status not in FINAL:
                answer = client.wait(answer.id, deadline - time.monotonic())
        except RefusedError as error:
            _refused(error)
        except (UnavailableError, TimeoutError) as error:
            fail(str(error), NO_ANSWER)
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
    else:
        print_answer(answer, Console(highlight=False))
    if output_dir is not None:
        _write(answer, output_dir)
    raise typer.Exit(EXIT_CODES[verdict(answer)])


def _write(answer: Answer, directory: Path) -> None:
    try:
        for path in output_files.write(answer, directory):
            say(f"wrote {printable(str(path))}")
    except (ValueError, OSError) as error:
        fail(str(error), USAGE)


def show(id: Annotated[str, typer.Argument(help="Of the submission.")], server: Server = None) -> None:
    """Print a submission as it is now, as JSON.

    Exit codes: 0 ok, 2 there is none with this id, 7 no answer.
    """
    with Client(server or ClientSettings().server) as client:
        try:
            typer.echo(client.get(id).model_dump_json(indent=2))
        except RefusedError as error:
            _refused(error)
        except UnavailableError as error:
            fail(str(error), NO_ANSWER)


def _refused(error: RefusedError) -> NoReturn:
    for wrong in error.errors:
        say(f"{wrong.field}: {wrong.message}" if wrong.field else wrong.message)
    fail("the request was not accepted" if error.errors else str(error), USAGE)
