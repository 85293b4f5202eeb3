"""What is shown while a program runs, and at its end, is each byte once."""

from envicutor_client.events import StreamEvent
from envicutor_client.live import OutputCollector, OutputMerger, OutputSource, PrintedOutput
from envicutor_client.models import Answer, OutputChunk, RunStage

OUT = OutputSource("run", 0, "stdout")


class Screen:
    def __init__(self) -> None:
        self.shown: list[tuple[OutputSource, bytes]] = []
        self.restarts: list[int] = []
        self.live = OutputMerger(lambda source, data: self.shown.append((source, data)), self.restarts.append)

    def piece(self, offset_bytes: int, text: str, *, attempt: int = 1, worker: str = "w") -> None:
        chunk = OutputChunk(
            attempt=attempt,
            worker=worker,
            stage="run",
            case=0,
            stream="stdout",
            sequence=0,
            offset_bytes=offset_bytes,
            text=text,
        )
        self.live.piece(chunk)

    def end(self, *run: RunStage, attempt: int = 1) -> None:
        self.live.end(Answer(id="a", status="finished", created_at="", attempt=attempt, run=run))


def test_the_end_brings_what_no_piece_brought() -> None:
    screen = Screen()
    screen.piece(0, "one ")
    screen.piece(8, "three")  # the second is missing
    screen.end(RunStage(stdout="one two three", stderr="oh"), RunStage(stdout="next"))
    assert screen.shown == [
        (OUT, b"one "),
        (OUT, b"two three"),
        (OutputSource("run", 0, "stderr"), b"oh"),
        (OutputSource("run", 1, "stdout"), b"next"),
    ]


def test_pieces_that_come_twice_or_of_another_worker_are_not_shown() -> None:
    screen = Screen()
    screen.piece(0, "one")
    screen.piece(0, "one")
    screen.piece(3, "two", worker="other")
    screen.end(RunStage(stdout="one"))
    assert screen.shown == [(OUT, b"one")]


def test_another_attempt_begins_anew() -> None:
    screen = Screen()
    screen.piece(0, "one")
    screen.piece(0, "uno", attempt=2)
    screen.piece(3, "late")
    screen.end(RunStage(stdout="eins"), attempt=3)
    assert [data for _, data in screen.shown] == [b"one", b"uno", b"eins"]
    assert screen.restarts == [2, 3]


def test_bytes_that_are_not_text() -> None:
    screen = Screen()
    screen.end(RunStage(stdout="/wA=", encoding="base64"))
    assert screen.shown == [(OUT, b"\xff\x00")]


def test_output_names_its_attempt_though_earlier_ones_printed_nothing() -> None:
    answer = Answer(id="a", status="finished", created_at="", attempt=2, run=[RunStage(stdout="hi")])
    assert OutputCollector().take(StreamEvent("end", answer)) == [PrintedOutput(OUT, b"hi", 2)]


def test_nothing_restarts_if_nothing_was_shown() -> None:
    screen = Screen()
    screen.piece(3, "late")  # the first piece is missing
    screen.piece(0, "one", attempt=2)
    assert (screen.shown, screen.restarts) == ([(OUT, b"one")], [])
