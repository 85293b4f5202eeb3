"""`envicutor submit`: send a request, wait for the answer, print it."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from envicutor_client import Client
from envicutor_client.calls import WAITING_POLL_S, with_id
from envicutor_client.cli import output_files
from envicutor_client.cli.answers import EXIT_CODES, outcome_or_status, print_answer, printable
from envicutor_client.cli.client import AsJson, Server, client
from envicutor_client.cli.requests import read_request
from envicutor_client.cli.watch import WaitingNotes, follow
from infra.commands.output import USAGE, broken_pipe_ignored, fail, print_note, reason
from topics.submissions.state import FINAL, Answer

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells: 128 and the number of SIGINT."""


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
    output_dir: Annotated[Path | None, typer.Option(help="New directory for the output files.")] = None,
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
        if output_dir is not None:
            output_files.check_new(output_dir)
    except (ValueError, OSError) as error:
        fail(reason(error), USAGE)
    try:
        with client(server) as connected:
            if watch:
                id = connected.submit(request, interactive=True).id
                answer = follow(connected, id, as_json=as_json)
            else:
                answer = _answer(connected, request, timeout_s)
    except KeyboardInterrupt:
        id = request["id"]
        print_note(
            f"stopped waiting; the submission continues: `envicutor watch {id}`, `envicutor cancel {id}`"
        )
        raise typer.Exit(INTERRUPTED) from None
    with broken_pipe_ignored():
        if as_json and not watch:
            typer.echo(answer.model_dump_json(indent=2))
        elif not watch:
            print_answer(answer, Console(highlight=False))
    if output_dir is not None:
        _write(answer, output_dir)
    raise typer.Exit(EXIT_CODES[outcome_or_status(answer)])


def _answer(client: Client, request: dict[str, Any], timeout_s: float) -> Answer:
    deadline = time.monotonic() + timeout_s
    answer = client.submit(request, wait_s=min(timeout_s, WAITING_POLL_S))
    if answer.status in FINAL:
        return answer
    return client.wait(answer.id, deadline - time.monotonic(), WaitingNotes().show)


def _write(answer: Answer, directory: Path) -> None:
    try:
        for path in output_files.write(answer, directory):
            print_note(f"wrote {printable(str(path))}")
    except (ValueError, OSError) as error:
        fail(reason(error), USAGE)
