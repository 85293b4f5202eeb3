"""Records what store processors produce for facts in any order, many of which no busy system has in its log.

`python -m tests.support.recorded_folds FILE`; FILE is made once, by the version that first has such records.
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from processors.store.build_store import build_store
from processors.store.partition import Partition
from processors.store.submission_store import submission_store
from tests.support import recorded_log
from topics.catalogue import catalogue
from topics.kafka.codec import Record
from topics.settings import KafkaSettings

CATALOGUE = catalogue(KafkaSettings())
STORES = {
    store.aggregate.family.events.name: store
    for store in (submission_store(CATALOGUE), build_store(CATALOGUE))
}
START_MS = 1_795_824_000_000
KEYS, FACTS_OF_EACH = 60, 16
ATTEMPTS = (1, 1, 1, 2, 2, 2, 3, 3, 4)

REQUESTS: Sequence[dict[str, Any]] = (
    {"run": "true"},
    {"run": ["cat"], "compile": "cc a.c", "tags": ["a=1"], "callback_url": "https://hooks.example.org/a"},
    {"files": [{"name": "cutor-run.sh", "content": "true"}, {"name": "shell.nix", "content": "{ }: 1"}]},
    {"run": "true", "dependencies": {"packages": ["bash"], "pypi": ["a==1"]}, "outputs": ["*"]},
)
RESOLUTION = {
    "registry": "pypi",
    "name": "a",
    "version": "1",
    "url": "https://registry.example.org/a.whl",
    "hash": "sha256:00",
}


def of_submission_attempts(choose: random.Random) -> dict[str, dict[str, Any]]:
    """Return a fact of each kind but a request, by the last word of its type, without its attempt."""
    dependencies = {"id": "d", "cached": choose.random() < 0.5, "store_path": "/nix/store/d"}
    worker = choose.choice(("v", "w"))
    return {
        "started": {"worker": worker, "ago_s": 0.5},
        "dependencies_installed": {"worker": worker, "dependencies": dependencies},
        "compiled": {"worker": worker, "compile": {"exit_code": 0, "cached": choose.random() < 0.5}},
        "finished": {
            "worker": worker,
            "outcome": choose.choice(("ok", "run_failed", "internal_error")),
            "dependencies": dependencies,
            "run": [{"stdout": "é\n", "exit_code": 0, "cpu_time_s": 0.25, "passed": True}],
            "error": choose.choice((None, "the disk is full")),
        },
        "handed_back": {"worker": worker, "reason": "it stops", "host_fault": choose.random() < 0.5},
        "lease_expired": {"checker": "c"},
        "cancelled": {},
        "rejected": {
            "errors": [{"field": "run", "message": "is wrong", "limit": None}],
            "reply_topic": choose.choice((None, "replies.a")),
        },
    }


def submission_facts(choose: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a request and facts about it, as pairs of a type and a value."""
    weights = (6, 3, 3, 2, 3, 6, 1, 1)
    request = {
        "request": choose.choice(REQUESTS),
        "dependencies_id": "d",
        "package_set": "p",
        "allowed_attempts": choose.choice((1, 2, 3)),
        "allowed_host_faults": choose.choice((1, 2)),
    }
    for number in range(FACTS_OF_EACH):
        kinds = of_submission_attempts(choose)
        kind = choose.choices(list(kinds), weights)[0]
        if number == 0 or choose.random() < 0.1:
            kind, fact = (
                "requested",
                request
                | {
                    "content_hash": choose.choice(("h", "h", "i")),
                    "owner": choose.choice((None, "o")),
                    "source": choose.choice(("http", "kafka")),
                    "reply_topic": choose.choice((None, "replies.a", "replies.refused")),
                },
            )
        elif kind in {"cancelled", "rejected"}:
            fact = kinds[kind]
        else:
            fact = kinds[kind] | {"attempt": choose.choice(ATTEMPTS)}
        yield f"envicutor.submission.{kind}.v1", fact


def of_builds(choose: random.Random) -> dict[str, dict[str, Any]]:
    """Return a fact of each kind but a request, by the last word of its type, without its number."""
    published = choose.random() < 0.3
    return {
        "started": {"builder": "b", "ago_s": 0.5},
        "installed": {
            "builder": "b",
            "host": "h",
            "store_path": "/nix/store/d",
            "variables": {"A": "é"},
            "packages": ["bash"],
            "size_bytes": 5,
            "wall_time_s": 1.5,
            "published": published,
            "resolution": [[], [RESOLUTION], [RESOLUTION | {"version": "2"}]][choose.randrange(3)],
        },
        "failed": {
            "builder": "b",
            "fault": choose.choice(("theirs", "limit", "ours")),
            "explanation": "it failed",
            "log": "é",
            "wall_time_s": 1.5,
            "expires_s": choose.choice((1.0, 1000.0)),
        },
        "handed_back": {"builder": "b", "reason": "it stops", "host_fault": choose.random() < 0.5},
        "lease_expired": {"checker": "c"},
        "evicted": {"host": choose.choice(("h", "i"))},
        "lost": {"host": "h", "reason": "not signed"},
    }


def dependencies_facts(choose: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a request for an environment and facts about it, as pairs of a type and a value."""
    weights = (6, 4, 3, 3, 6, 1, 1)
    request = {"package_set": "p", "system": "x86_64-linux", "allowed_attempts": choose.choice((1, 2))}
    for number in range(FACTS_OF_EACH):
        kinds = of_builds(choose)
        kind = choose.choices(list(kinds), weights)[0]
        if number == 0 or choose.random() < 0.2:
            kind, fact = (
                "requested",
                request
                | {
                    "dependencies": {"packages": ["bash"], "npm": ["b@1.0.0"]},
                    "limits": {
                        "wall_time_s": choose.choice((5.0, 10.0)),
                        "memory_bytes": choose.choice((1 << 28, 1 << 29)),
                    },
                    "allowed_host_faults": choose.choice((1, 2)),
                },
            )
        else:
            number_of = "generation" if kind in {"evicted", "lost"} else "attempt"
            fact = kinds[kind] | {number_of: choose.choice(ATTEMPTS)}
        yield f"envicutor.dependencies.{kind}.v1", fact


def events() -> Iterator[Message]:
    """Yield the same facts each time, and one that no version can decode."""
    choose = random.Random(16)
    for topic, facts in zip(STORES, (submission_facts, dependencies_facts), strict=True):
        offset = 0
        for number in range(KEYS):
            for ce_type, fact in facts(choose):
                yield _event(topic, offset, f"id-{number}", ce_type, json.dumps(fact).encode())
                offset += 1
        yield _event(topic, offset, "id-0", "unknown", b"{")


def _event(topic: str, offset: int, key: str, ce_type: str, value: bytes) -> Message:
    set_back_ms = 2500 if offset % 5 == 4 else 0  # as by a correction of the broker's clock
    time = (TIMESTAMP_LOG_APPEND_TIME, START_MS + 1000 * offset - set_back_ms)
    return Message(topic, 0, offset, key.encode(), value, [("ce_type", ce_type.encode())], timestamp=time)


def produced(partition: Partition, event: Message) -> list[Record]:
    """Return the records that a store processor produces for an event, without the time of the moment."""
    partition.fold(event)
    records = partition.records(lambda topic: "no rights" if topic == "replies.refused" else None)
    partition.committed()
    return [
        record._replace(headers=[header for header in record.headers if header[0] != "ce_time"])
        for record in records
    ]


def as_bytes(content: str | bytes | None) -> bytes | None:
    """Return the bytes of a key or value."""
    return content.encode() if isinstance(content, str) else content


def main(path: Path) -> None:
    """Write each event, followed by what is produced for it."""
    partitions = {topic: Partition(store) for topic, store in STORES.items()}
    messages: list[Message] = []
    for event in events():
        messages.append(event)
        messages += [
            Message(topic, 0, 0, as_bytes(key), as_bytes(value), headers, timestamp=(0, 0))
            for topic, key, value, headers in produced(partitions[str(event.topic())], event)
        ]
    recorded_log.write_messages(path, messages)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
