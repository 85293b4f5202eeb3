"""Live output of a submission. Chunks are a preview without guarantee; the answer completes them."""

import base64
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from topics.submissions.output import OutputChunk
from topics.submissions.stage import StageResult
from topics.submissions.state import Answer

Stream = Literal["stdout", "stderr"]


class OutputSource(NamedTuple):
    """Stream of a stage that output comes from; `case` is None for the compile stage."""

    stage: Literal["compile", "run"]
    case: int | None
    stream: Stream


class OutputMerger:
    """Merger of chunks and answer: each byte of output is shown once, in the order of its stream."""

    def __init__(self, show: Callable[[OutputSource, bytes], None], restarted: Callable[[int], None]) -> None:
        """Call `show` with source and bytes, and `restarted` with the number of each later attempt.

        A later attempt replaces the output that was shown before.
        """
        self._show, self._restarted = show, restarted
        self._attempt = 1
        self._worker: str | None = None
        self._shown: defaultdict[OutputSource, int] = defaultdict(int)

    def piece(self, chunk: OutputChunk) -> None:
        """Show a chunk if it continues the output that was shown."""
        if chunk.attempt > self._attempt:
            self._begin(chunk.attempt)
        self._worker = self._worker or chunk.worker
        source = OutputSource(chunk.stage, chunk.case, chunk.stream)
        current = (chunk.attempt, chunk.worker) == (self._attempt, self._worker)
        if current and chunk.offset_bytes == self._shown[source]:
            self._show_next(source, _bytes(chunk.text, chunk.encoding))

    def end(self, answer: Answer) -> None:
        """Show the rest of the answer's output, which no chunk contained."""
        if answer.attempt > self._attempt:
            self._begin(answer.attempt)
        for source, text, encoding in _outputs(answer):
            if rest := _bytes(text, encoding)[self._shown[source] :]:
                self._show_next(source, rest)

    def _begin(self, attempt: int) -> None:
        if self._shown:
            self._restarted(attempt)
        self._attempt, self._worker = attempt, None
        self._shown.clear()

    def _show_next(self, source: OutputSource, data: bytes) -> None:
        self._shown[source] += len(data)
        self._show(source, data)


def _outputs(answer: Answer) -> Iterator[tuple[OutputSource, str, str]]:
    stages: list[tuple[Literal["compile", "run"], int | None, StageResult]] = []
    if answer.compile is not None:
        stages.append(("compile", None, answer.compile))
    stages += [("run", case, stage) for case, stage in enumerate(answer.run)]
    for name, case, stage in stages:
        yield OutputSource(name, case, "stdout"), stage.stdout, stage.encoding
        yield OutputSource(name, case, "stderr"), stage.stderr, stage.encoding


def _bytes(text: str, encoding: str) -> bytes:
    return base64.b64decode(text) if encoding == "base64" else text.encode()
