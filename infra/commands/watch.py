"""`envicutor watch`, and what `submit --watch` does."""

import json
import sys
from typing import Annotated

import typer

from infra.commands.answers import EXIT_CODES, about_output, printable, verdict
from infra.commands.client import AsJson, Server, client
from infra.commands.live import LiveOutput, Source
from infra.commands.output import say
from ingest.client import Client
from ingest.models import EventPayload
from topics.submissions.output import OutputChunk
from topics.submissions.state import Answer


def watch(
    id: Annotated[str, typer.Argument(help="Of the submission.")],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Follow a submission: what it prints, as it prints it, and what happens to it.

    What the program prints goes to standard output and standard error, everything else to standard
    error. With --json: one event a line.

    Exit codes: those of `submit`.
    """
    with client(server) as connected:
        answer = follow(connected, id, as_json=as_json)
    raise typer.Exit(EXIT_CODES[verdict(answer)])


def follow(client: Client, id: str, *, as_json: bool) -> Answer:
    """Show everything until the end; the answer."""
    live = LiveOutput(_Printer().show, lambda attempt: say(f"attempt {attempt}: begins anew"))
    for event in client.events(id):
        if as_json:
            typer.echo(json.dumps({"event": event.name, "data": event.data.model_dump(mode="json")}))
        match event.data:
            case OutputChunk() as chunk if not as_json:
                live.piece(chunk)
            case EventPayload(refused=None) as fact if not as_json:
                _tell(event.name, fact)
            case Answer() as answer:
                if not as_json:
                    live.end(answer)
                    _tell_outputs(answer)
                    say(f"{verdict(answer)}  {id}" + (f": {answer.error}" if answer.error else ""))
                return answer
    raise AssertionError("the last event is the end")


def _tell(name: str, happened: EventPayload) -> None:
    match name:
        case "started":
            say(f"started by {happened.fact['worker']}; its dependencies are being prepared")
        case "dependencies_installed":
            say("the dependencies are there")
        case "handed_back" | "lease_expired":
            reason = happened.fact.get("reason", "its worker is silent")
            say(f"attempt {happened.fact['attempt']} ended: {reason}")


def _tell_outputs(answer: Answer) -> None:
    for case, run in enumerate(answer.run, 1):
        where = "output file" if len(answer.run) == 1 else f"output file of run {case}"
        for file in run.outputs:
            say(f"{where}: {about_output(file)}")


class _Printer:
    """Says whose output it is where it changes, apart from the only program's."""

    def __init__(self) -> None:
        self._last: tuple[str, int | None] = ("run", 0)

    def show(self, source: Source, data: bytes) -> None:
        if (source.stage, source.case) != self._last:
            self._last = (source.stage, source.case)
            say(source.stage if source.case is None else f"{source.stage} {source.case + 1}")
        out = sys.stdout if source.stream == "stdout" else sys.stderr
        if out.isatty():
            out.write(printable(data.decode(errors="backslashreplace")))
        else:
            out.buffer.write(data)
        out.flush()
