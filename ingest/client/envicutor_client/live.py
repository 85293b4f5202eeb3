"""Live output of a submission. Chunks are a preview without guarantee; the answer completes them."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from envicutor_client.content import decoded
from envicutor_client.events import StreamEvent
from envicutor_client.models import Answer, OutputChunk, StageResult


class OutputSource(NamedTuple):
    """Stream of a stage that output comes from."""

    stage: str
    """Stage that the program belongs to: `compile` or `run`."""
    case: int | None
    """Index of the test case, from 0; None for the compile stage."""
    stream: str
    """Stream of the program: `stdout` or `stderr`."""


class PrintedOutput(NamedTuple):
    """Output of a program, from the end of what it printed before on the same stream."""

    source: OutputSource
    data: bytes
    attempt: int
    """Attempt that printed it, from 1. The output of a later attempt replaces that of earlier ones."""

    @property
    def text(self) -> str:
        """Output as text; bytes that are not UTF-8 are shown as `\\xff`."""
        return self.data.decode(errors="backslashreplace")


class OutputMerger:
    """Merger of chunks and answer: each byte of output is shown once, in the order of its stream."""

    def __init__(self, show: Callable[[OutputSource, bytes], None], restarted: Callable[[int], None]) -> None:
        """Call `show` with source and bytes, and `restarted` with the number of an attempt.

        That attempt replaces the output that was shown before. It is not called if none was shown.
        """
        self._show, self._restarted = show, restarted
        self.attempt = 1
        """Attempt whose output is shown, from 1."""
        self._worker: str | None = None
        self._shown: Counter[OutputSource] = Counter()

    def piece(self, chunk: OutputChunk) -> None:
        """Show a chunk if it continues the output that was shown."""
        if chunk.attempt > self.attempt:
            self._begin(chunk.attempt)
        self._worker = self._worker or chunk.worker
        source = OutputSource(chunk.stage, chunk.case, chunk.stream)
        current = (chunk.attempt, chunk.worker) == (self.attempt, self._worker)
        if current and chunk.offset_bytes == self._shown[source]:
            self._show_next(source, decoded(chunk.text, chunk.encoding))

    def end(self, answer: Answer) -> None:
        """Show the rest of the answer's output, which no chunk contained."""
        if answer.attempt > self.attempt:
            self._begin(answer.attempt)
        for source, text, encoding in _outputs(answer):
            if rest := decoded(text, encoding)[self._shown[source] :]:
                self._show_next(source, rest)

    def _begin(self, attempt: int) -> None:
        if self._shown:
            self._restarted(attempt)
        self.attempt, self._worker = attempt, None
        self._shown.clear()

    def _show_next(self, source: OutputSource, data: bytes) -> None:
        self._shown[source] += len(data)
        self._show(source, data)


class OutputCollector:
    """Collector of the output that the events of one submission bring."""

    def __init__(self) -> None:
        self._merger = OutputMerger(self._add, lambda _: None)
        self._new: list[PrintedOutput] = []

    def take(self, event: StreamEvent) -> list[PrintedOutput]:
        """Return the output that an event brings, which is none for most events."""
        self._new = []
        if isinstance(event.data, OutputChunk):
            self._merger.piece(event.data)
        elif isinstance(event.data, Answer):
            self._merger.end(event.data)
        return self._new

    def _add(self, source: OutputSource, data: bytes) -> None:
        self._new.append(PrintedOutput(source, data, self._merger.attempt))


def _outputs(answer: Answer) -> Iterator[tuple[OutputSource, str, str]]:
    stages: list[tuple[str, int | None, StageResult]] = []
    if answer.compile is not None:
        stages.append(("compile", None, answer.compile))
    stages += [("run", case, stage) for case, stage in enumerate(answer.run)]
    for name, case, stage in stages:
        yield OutputSource(name, case, "stdout"), stage.stdout, stage.encoding
        yield OutputSource(name, case, "stderr"), stage.stderr, stage.encoding
