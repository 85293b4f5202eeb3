"""Output as it comes: pieces are a preview, the answer makes up for what they left out."""

import base64
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from topics.submissions.output import OutputChunk
from topics.submissions.stage import StageResult
from topics.submissions.state import Answer

Stream = Literal["stdout", "stderr"]


class Source(NamedTuple):
    """Where output comes from."""

    stage: Literal["compile", "run"]
    case: int | None
    stream: Stream


class LiveOutput:
    """Shows each byte once, in its stream's order: `show` is given the source and the bytes."""

    def __init__(self, show: Callable[[Source, bytes], None], restarted: Callable[[int], None]) -> None:
        """`restarted` is told the number of an attempt after the first: what was shown counts no more."""
        self._show, self._restarted = show, restarted
        self._attempt = 1
        self._worker: str | None = None
        self._shown: defaultdict[Source, int] = defaultdict(int)

    def piece(self, chunk: OutputChunk) -> None:
        """Show it, if it is what comes next."""
        if chunk.attempt > self._attempt:
            self._begin(chunk.attempt)
        self._worker = self._worker or chunk.worker
        source = Source(chunk.stage, chunk.case, chunk.stream)
        ours = (chunk.attempt, chunk.worker) == (self._attempt, self._worker)
        if ours and chunk.offset_bytes == self._shown[source]:
            self._take(source, _bytes(chunk.text, chunk.encoding))

    def end(self, answer: Answer) -> None:
        """Show what the answer has beyond it."""
        if answer.attempt > self._attempt:
            self._begin(answer.attempt)
        for source, text, encoding in _outputs(answer):
            if rest := _bytes(text, encoding)[self._shown[source] :]:
                self._take(source, rest)

    def _begin(self, attempt: int) -> None:
        if self._shown:
            self._restarted(attempt)
        self._attempt, self._worker = attempt, None
        self._shown.clear()

    def _take(self, source: Source, data: bytes) -> None:
        self._shown[source] += len(data)
        self._show(source, data)


def _outputs(answer: Answer) -> Iterator[tuple[Source, str, str]]:
    stages: list[tuple[Literal["compile", "run"], int | None, StageResult]] = []
    if answer.compile is not None:
        stages.append(("compile", None, answer.compile))
    stages += [("run", case, stage) for case, stage in enumerate(answer.run)]
    for name, case, stage in stages:
        yield Source(name, case, "stdout"), stage.stdout, stage.encoding
        yield Source(name, case, "stderr"), stage.stderr, stage.encoding


def _bytes(text: str, encoding: str) -> bytes:
    return base64.b64decode(text) if encoding == "base64" else text.encode()
