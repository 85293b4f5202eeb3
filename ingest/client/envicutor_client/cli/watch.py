"""`envicutor watch`: events and live output of a submission, also for `submit --watch`."""

import json
import sys
from typing import Annotated

import typer

from envicutor_client import Client
from envicutor_client.calls import dump
from envicutor_client.cli.answers import (
    about_output,
    exit_code,
    failures,
    outcome_or_status,
    printable,
    score_of,
)
from envicutor_client.cli.client import AsJson, Server, client
from envicutor_client.cli.output import end_status, print_note, print_status
from envicutor_client.live import OutputMerger, OutputSource
from envicutor_client.models import Answer, EventPayload, OutputChunk, SubmissionWait


def watch(
    id: Annotated[str, typer.Argument(help="Id of the submission.")],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Follow a submission: print its output and its events as they arrive.

    The program's streams go to standard output and standard error. Events go to standard error. With --json,
    print one event per line.

    Exit codes: those of `submit`.
    """
    with client(server) as connected:
        answer = follow(connected, id, as_json=as_json)
    raise typer.Exit(exit_code(answer))


class WaitingNotes:
    """Notes about what a submission waits for, on standard error.

    On a terminal each note replaces the one before. Elsewhere an attempt has each note at most once, and one
    note for each stage of the build of its environment, whose stages may alternate.
    """

    def __init__(self) -> None:
        self._printed: set[str] = set()
        """Subjects of the notes of the present attempt; on a terminal of the last note alone."""

    def show(self, waiting: SubmissionWait) -> None:
        """Print a note, unless it was printed before."""
        text, is_terminal = _words(waiting), sys.stderr.isatty()
        subject = waiting.step.stage if waiting.step and not is_terminal else text
        if subject in self._printed:
            return
        if is_terminal:
            self._printed = {subject}
            print_status(text)
        else:
            self._printed.add(subject)
            print_note(text)

    def restart(self) -> None:
        """Print each note again, since a new attempt of the submission began."""
        self._printed.clear()


def follow(client: Client, id: str, *, as_json: bool) -> Answer:
    """Print output and events until the submission ends, and return the answer."""
    live = OutputMerger(_Printer().show, lambda attempt: print_note(f"attempt {attempt}: output restarts"))
    notes = WaitingNotes()
    for event in client.events(id):
        if as_json:
            typer.echo(json.dumps({"event": event.name, "data": dump(event.data)}))
        match event.data:
            case OutputChunk() as chunk if not as_json:
                live.piece(chunk)
            case EventPayload() as payload if event.name == "waiting" and not as_json:
                notes.show(SubmissionWait.model_validate(payload.fact))
            case EventPayload(refused=None) as fact if not as_json:
                _print_event(event.name, fact)
                if event.name == "started":
                    notes.restart()
            case Answer() as answer:
                if not as_json:
                    live.end(answer)
                    _print_output_files(answer)
                    _print_end(answer)
                return answer
    raise AssertionError("the last event is the end")


def _words(waiting: SubmissionWait) -> str:
    if waiting.reason == "environment":
        step = f": {printable(str(waiting.step))}" if waiting.step else ""
        return f"its environment is being built{step}"
    estimate = "" if waiting.estimate_s is None else f", about {waiting.estimate_s:.0f} s"
    return f"waiting for a worker: {waiting.before} before it{estimate}"


def _print_event(name: str, happened: EventPayload) -> None:
    match name:
        case "started":
            print_note(f"started by {happened.fact['worker']}; its dependencies are being prepared")
        case "dependencies_installed":
            print_note("its dependencies are installed")
        case "handed_back" | "lease_expired":
            reason = happened.fact.get("reason", "its worker no longer answers")
            print_note(f"attempt {happened.fact['attempt']} ended: {reason}")


def _print_output_files(answer: Answer) -> None:
    for case, run in enumerate(answer.run, 1):
        where = "output file" if len(answer.run) == 1 else f"output file of run {case}"
        for file in run.outputs:
            print_note(f"{where}: {about_output(file)}")


def _print_end(answer: Answer) -> None:
    error = f": {answer.error}" if answer.error else ""
    print_note(f"{outcome_or_status(answer)}  {answer.id}{score_of(answer)}{error}")
    for line in failures(answer):
        print_note(line)


class _Printer:
    """Printer of live output. It prints the stage whenever that changes, except for a single run."""

    def __init__(self) -> None:
        self._last: tuple[str, int | None] = ("run", 0)

    def show(self, source: OutputSource, data: bytes) -> None:
        end_status()
        if (source.stage, source.case) != self._last:
            self._last = (source.stage, source.case)
            print_note(source.stage if source.case is None else f"{source.stage} {source.case + 1}")
        out = sys.stdout if source.stream == "stdout" else sys.stderr
        if out.isatty():
            out.write(printable(data.decode(errors="backslashreplace")))
        else:
            out.buffer.write(data)
        out.flush()
