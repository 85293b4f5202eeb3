"""`envicutor submit`: send a request, wait for the answer, print it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from envicutor_client import Client
from envicutor_client.calls import dump, with_id
from envicutor_client.cli import output_files
from envicutor_client.cli.answers import exit_code, print_answer, printable
from envicutor_client.cli.client import AsJson, Server, client
from envicutor_client.cli.output import (
    USAGE,
    broken_pipe_ignored,
    end_status,
    fail,
    print_note,
    program_name,
    reason,
)
from envicutor_client.cli.requests import read_request
from envicutor_client.cli.watch import WaitingNotes, follow
from envicutor_client.models import FINAL, Answer
from envicutor_client.polls import WAITING_POLL_S

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells: 128 and the number of SIGINT."""
OutputDir = Annotated[Path | None, typer.Option(help="New directory for the output files.")]


def submit(
    path: Annotated[
        str, typer.Argument(help="Directory, file with a JSON request, or - for standard input.")
    ],
    server: Server = None,
    timeout_s: Annotated[float, typer.Option(help="Longest wait without --watch.", min=0.1)] = 600.0,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Print events and output while the program runs.")
    ] = False,
    as_json: AsJson = False,
    output_dir: OutputDir = None,
) -> None:
    """Submit a program, wait for its end, and print the answer.

    The files of a directory are sent. Its submission.json, if there is one, has the request's other fields.

    Examples: `envicutor submit examples/numpy`; `envicutor submit --watch .`;
    `echo '{"run": "echo hello"}' | envicutor submit --json -`.

    Exit codes: 0 ok, 1 run_failed or wrong_output, 2 usage, 3 compile_failed, 4 dependencies_failed,
    5 internal_error, 6 cancelled or rejected, 7 no answer, 130 interrupted.
    """
    try:
        request = with_id(read_request(path))
        check_output_dir(output_dir)
    except (ValueError, OSError) as error:
        fail(reason(error), USAGE)
    with client(server) as connected, interruptible(request["id"]):
        if watch:
            id = connected.submit(request, interactive=True).id
            answer = follow(connected, id, as_json=as_json)
        else:
            answer = _answer(connected, request, timeout_s)
    with broken_pipe_ignored():
        if as_json and not watch:
            typer.echo(json.dumps(dump(answer), indent=2, ensure_ascii=False))
        elif not watch:
            print_answer(answer, Console(highlight=False))
    end(answer, output_dir)


def check_output_dir(directory: Path | None) -> None:
    """Check that the directory for output files can be made, if there is to be one.

    Raises:
        ValueError: output files could overwrite others.
    """
    if directory is not None:
        output_files.check_new(directory)


@contextmanager
def interruptible(id: str) -> Iterator[None]:
    """After Ctrl-C, name the submission that continues, and exit with `INTERRUPTED`."""
    try:
        yield
    except KeyboardInterrupt:
        name = program_name()
        print_note(f"stopped waiting; the submission continues: `{name} watch {id}`, `{name} cancel {id}`")
        raise typer.Exit(INTERRUPTED) from None


def end(answer: Answer, output_dir: Path | None) -> None:
    """Write the output files if there is a directory for them, and exit with the code of the answer."""
    try:
        for path in output_files.write(answer, output_dir) if output_dir else ():
            print_note(f"wrote {printable(str(path))}")
    except (ValueError, OSError) as error:
        fail(reason(error), USAGE)
    raise typer.Exit(exit_code(answer))


def _answer(client: Client, request: dict[str, Any], timeout_s: float) -> Answer:
    deadline = time.monotonic() + timeout_s
    answer = client.submit(request, wait_s=min(timeout_s, WAITING_POLL_S))
    if answer.status in FINAL:
        return answer
    answer = client.wait(answer.id, deadline - time.monotonic(), WaitingNotes().show)
    end_status()
    return answer
