"""What commands print while a submission waits."""

import errno
import os
import pty
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from envicutor_client.cli.output import end_status, print_note
from envicutor_client.cli.watch import WaitingNotes
from envicutor_client.models import BuildStep, SubmissionWait
from tests.support.commands import run_command
from tests.unit.client.server import language, languages, reply, serving, stream

BUILDING = SubmissionWait(reason="environment")


def at(stage: str, done: int = 0, total: int = 0) -> SubmissionWait:
    return SubmissionWait(reason="environment", step=BuildStep(stage=stage, done=done, total=total))


WAITS = [
    SubmissionWait(reason="worker", before=3),
    SubmissionWait(reason="worker", before=2),
    BUILDING,
    at("fetching", 12, 55),
    at("fetching", 13, 55),
    at("unpacking", 3, 55),
    at("building"),
    at("building"),
]


def show_all() -> None:
    notes = WaitingNotes()
    for wait in WAITS:
        notes.show(wait)


def test_a_file_gets_one_line_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    show_all()
    assert capsys.readouterr().err.splitlines() == [
        "envicutor: waiting for a worker: 3 before it",
        "envicutor: waiting for a worker: 2 before it",
        "envicutor: its environment is being built",
        "envicutor: its environment is being built: fetching 12 of 55",
        "envicutor: its environment is being built: unpacking 3 of 55",
        "envicutor: its environment is being built: building",
    ]


def test_stages_that_alternate_are_noted_once_for_each_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    notes = WaitingNotes()
    for _ in range(2):
        for done in range(3):
            notes.show(at("fetching", done, 3))
            notes.show(at("unpacking", done, 3))
        notes.restart()
    one_attempt = [
        "envicutor: its environment is being built: fetching 0 of 3",
        "envicutor: its environment is being built: unpacking 0 of 3",
    ]
    assert capsys.readouterr().err.splitlines() == 2 * one_attempt


def read_some(terminal: int) -> bytes:
    """What was printed next; nothing at the end. A terminal passes output on in parts."""
    try:
        return os.read(terminal, 65536)
    except OSError as error:
        if error.errno != errno.EIO:  # no process has the other side open
            raise
        return b""


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None], str], str]:
    """Run a function whose standard error is a terminal of so many columns; return what it printed."""

    def run(function: Callable[[], None], columns: str) -> str:
        ours, theirs = pty.openpty()
        with open(theirs, "w") as terminal:
            monkeypatch.setenv("COLUMNS", columns)
            monkeypatch.setattr(sys, "stderr", terminal)
            function()
        printed = b"".join(iter(lambda: read_some(ours), b""))
        os.close(ours)
        return printed.decode()

    return run


def test_a_terminal_has_one_line_that_changes(
    on_a_terminal: Callable[[Callable[[], None], str], str],
) -> None:
    def follow() -> None:
        show_all()
        print_note("its dependencies are installed")
        end_status()

    changing, note, rest = on_a_terminal(follow, "80").split("\r\n")
    assert (note, rest) == ("envicutor: its dependencies are installed", "")
    lines = changing.split("\r")
    assert [line.rstrip().removeprefix("envicutor: ") for line in lines] == [
        "",
        "waiting for a worker: 3 before it",
        "waiting for a worker: 2 before it",
        "its environment is being built",
        "its environment is being built: fetching 12 of 55",
        "its environment is being built: fetching 13 of 55",
        "its environment is being built: unpacking 3 of 55",
        "its environment is being built: building",
    ]
    # Each line hides the one before.
    assert all(len(line) >= len(before.rstrip()) for before, line in pairwise(lines))


def test_a_narrow_terminal_cuts_the_line(on_a_terminal: Callable[[Callable[[], None], str], str]) -> None:
    printed = on_a_terminal(show_all, "20")
    assert {len(line) for line in printed.split("\r")[1:]} == {19}


def test_run_prints_the_steps(tmp_path: Path) -> None:
    file = tmp_path / "hello.sh"
    file.write_text("echo hello")
    waiting = {"time": "", "status": "started", "refused": None, "fact": at("building").model_dump()}
    answer = {"id": "one", "status": "finished", "outcome": "ok", "created_at": "", "run": []}
    bash = language("bash", title="Bash", packages=[], source_file="main.sh", suffixes=[".sh"])
    with serving() as server:
        events = stream(("waiting", waiting), ("end", answer))
        server.replies = [languages(bash), reply("queued", 202), events]
        code, output = run_command("run", str(file), "--server", server.url)
    assert code == 0
    assert "envicutor: its environment is being built: building\n" in output
