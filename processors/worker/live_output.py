"""Live output: what programs print, published while they run, as long as that does not delay them.

produces  pieces on `submissions.output`

Output is gathered into pieces for a short time. A program never waits for Kafka: pieces that Kafka does not
accept in time are dropped. Output of the last moment of an attempt is not published here, since `Finished`
contains it.
"""

import asyncio
import codecs
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from processors.sandbox import OnOutput
from processors.worker.answer_budget import as_texts
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, encode, unique
from topics.settings import KafkaSettings
from topics.submissions.output import OUTPUT, OutputChunk

BATCH_S = 0.05
"""Time for which the first byte of a piece waits for more."""
BATCH_BYTES = 16 * 1024
"""Size at which a piece is published at once."""
UNACKNOWLEDGED = 256
"""Pieces that may wait for their acknowledgement; further pieces are dropped."""
GIVE_UP_MS = 5000
"""Time after which a piece that Kafka did not acknowledge is dropped."""


class PieceSource(NamedTuple):
    """The stage, test case and stream of an attempt that printed a piece."""

    stage: Literal["compile", "run"]
    case: int | None
    stream: Literal["stdout", "stderr"]


class LiveOutputPublisher:
    """Publisher of the live output of one worker process."""

    def __init__(self, kafka: KafkaSettings, topic: str, worker: str) -> None:
        self._topic, self._worker = topic, worker
        self._producer = EventProducer(kafka, message_timeout_ms=GIVE_UP_MS)

    @contextmanager
    def of(self, id: str, attempt: int) -> Iterator["AttemptOutput"]:
        """Publish what the attempt's programs print, until the context ends."""
        output = AttemptOutput(attempt, self._worker, lambda chunk: self._offer(id, chunk))
        try:
            yield output
        finally:
            output.close()

    @property
    def unacknowledged(self) -> int:
        """Number of pieces that Kafka has not acknowledged."""
        return self._producer.unacknowledged

    def close(self) -> None:
        """Close the producer; pieces that are not acknowledged within 0.5 s are lost."""
        self._producer.close(timeout_s=0.5)

    def _offer(self, id: str, chunk: OutputChunk) -> None:
        if self.unacknowledged < UNACKNOWLEDGED:
            headers = cloud_event(OUTPUT, unique(), id, f"worker/{self._worker}")
            self._producer.produce(Record(self._topic, id.encode(), encode(chunk), headers))


class AttemptOutput:
    """Buffer that gathers what the programs of one attempt print, and publishes it piece by piece."""

    def __init__(self, attempt: int, worker: str, publish: Callable[[OutputChunk], None]) -> None:
        self._attempt, self._worker, self._publish = attempt, worker, publish
        self._sequence = 0
        self._published_bytes: defaultdict[PieceSource, int] = defaultdict(int)
        self._unpublished: defaultdict[PieceSource, bytearray] = defaultdict(bytearray)
        self._timer: asyncio.TimerHandle | None = None

    def listener(self, stage: Literal["compile", "run"], case: int | None = None) -> OnOutput:
        """Return a callback for what one program prints."""

        def collect(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            unpublished = self._unpublished[PieceSource(stage, case, stream)]
            unpublished += data
            if self._timer is None or len(unpublished) >= BATCH_BYTES:
                self._publish_in(0 if len(unpublished) >= BATCH_BYTES else BATCH_S)

        return collect

    def close(self) -> None:
        """Publish no further piece of the attempt."""
        if self._timer is not None:
            self._timer.cancel()

    def _publish_in(self, delay_s: float) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._publish_pieces)

    def _publish_pieces(self) -> None:
        self._timer = None
        for source, unpublished in self._unpublished.items():
            if size := _whole_characters(unpublished):
                self._publish(self._chunk(source, bytes(unpublished[:size])))
                del unpublished[:size]
                self._published_bytes[source] += size
                self._sequence += 1

    def _chunk(self, source: PieceSource, data: bytes) -> OutputChunk:
        encoding, [text] = as_texts(data)
        return OutputChunk(
            attempt=self._attempt,
            worker=self._worker,
            stage=source.stage,
            case=source.case,
            stream=source.stream,
            sequence=self._sequence,
            offset_bytes=self._published_bytes[source],
            text=text,
            encoding=encoding,
        )


def _whole_characters(data: bytearray) -> int:
    """Return the number of bytes before an incomplete last character; all bytes if they are not UTF-8."""
    try:
        return codecs.utf_8_decode(data, "strict", False)[1]
    except UnicodeDecodeError:
        return len(data)
