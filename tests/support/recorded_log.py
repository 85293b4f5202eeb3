"""Records of topics in a file: written from a running system, read again by tests of later versions."""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings

BUSY_SYSTEM = Path(__file__).parents[1] / "data" / "busy-system-2026-11.jsonl.gz"
"""Events and stores of a system at contract version 1.3, made by `python -m tests.support.busy_system`."""
FOLDS = BUSY_SYSTEM.with_name("folds-2026-11.jsonl.gz")
"""Events in any order, each followed by the records that store processors at contract version 1.2 produced
for it, made by `python -m tests.support.recorded_folds`."""


def write(path: Path, settings: KafkaSettings, topics: Iterable[str]) -> int:
    """Write every committed record of these topics to a file; return how many there are."""
    return write_messages(path, (message for topic in topics for message in read_to_end(settings, topic)))


def write_messages(path: Path, messages: Iterable[Message]) -> int:
    """Write records to a file; return how many there are."""
    count = 0
    with gzip.open(path, "wt", encoding="ascii") as file:
        for message in messages:
            file.write(f"{json.dumps(_fields(message))}\n")
            count += 1
    return count


def read(path: Path) -> Iterator[Message]:
    """Return the records of a file, in the order of each partition, with their offsets and times."""
    with gzip.open(path, "rt", encoding="ascii") as lines:
        for line in lines:
            topic, partition, offset, time_ms, key, value, headers = json.loads(line)
            yield Message(
                topic,
                partition,
                offset,
                _bytes(key),
                _bytes(value),
                [(name, _bytes(header)) for name, header in headers],
                timestamp=(TIMESTAMP_LOG_APPEND_TIME, time_ms),
            )


def _fields(message: Message) -> list[object]:
    return [
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        _text(message.key()),
        _text(message.value()),
        [(name, _text(value)) for name, value in list(message.headers() or ())],
    ]


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode(errors="surrogateescape")
