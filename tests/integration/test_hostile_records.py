"""Hostile records on `submissions.requests`: good ones pass meanwhile, none is lost, each bad one is kept.

5,000 of them; `HOSTILE_RECORDS=100000` for more. `HOSTILE_SEED` repeats a run: it is printed when one fails.
"""

import gzip
import hashlib
import json
import logging
import os
import random
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

from tests.support.polling import eventually
from tests.support.roles import Process, running_roles
from tests.support.submissions import GOOD, package_set
from topics.catalogue import REQUEST_GROUP, Catalogue, catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, producer_config
from topics.kafka.codec import REPLY_TOPIC, Headers, Record, decode_dead_letter, decode_fact
from topics.kafka.scan import committed_offsets, read_to_end
from topics.request.limits import KiB, MiB
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Rejected, Requested

log = logging.getLogger(__name__)

RECORDS = int(os.environ.get("HOSTILE_RECORDS", "5000"))
SEED = int(os.environ.get("HOSTILE_SEED", str(random.randrange(2**32))))
REQUEST_BYTES = 16 * KiB
GOOD_SHARE = 0.1
ODD_REPLY_SHARE = 0.1
IN_FLIGHT = 1_000
DEADLINE_S = 240.0 + RECORDS / 20

BODIES: list[object] = [
    [],
    1,
    "text",
    {},
    {"run": 1},
    {"run": "true", "more": 1},
    {"run": "true", "limits": {"run": {"memory_bytes": 2**70}}},
    {"run": "true", "limits": {"run": {"wall_time_s": 1e308}}},
    {"run": "true", "files": [1] * 5_000},
    {"run": "true", "files": [{"name": "../" * 50 + "etc", "content": ""}]},
    {"run": "true", "files": [{"name": "x" * 10_000, "content": ""}]},
    {"run": "true\x00"},
    {"run": "true", "env": {"\ud800": "\udfff"}},
    {"run": "true", "x" * 10_000: 1},
]
WRONG = [json.dumps(body).encode() for body in BODIES]
PACKED = gzip.compress(b"0" * MiB, mtime=0)

Bad = tuple[bytes | None, bytes | None]
"""Key and value."""
Roles = list[Process]


def not_json(rng: random.Random, id: bytes) -> Bad:
    return id, rng.choice(
        [b"{", b"", b"\x00", b"nul", b"{'run': 1}", b"NaN", rng.randbytes(rng.randrange(1, 300))]
    )


def cut_short(rng: random.Random, id: bytes) -> Bad:
    whole = json.dumps({"run": "true", "files": [{"name": "a", "content": "x" * 50}]}).encode()
    return id, whole[: rng.randrange(1, len(whole))]


def too_large(rng: random.Random, id: bytes) -> Bad:
    return id, json.dumps({"run": "x" * (REQUEST_BYTES + rng.randrange(10))}).encode()


def wrong_schema(rng: random.Random, id: bytes) -> Bad:
    return id, rng.choice(WRONG)


def null(_: random.Random, id: bytes) -> Bad:
    return id, None


def missing_key(_: random.Random, id: bytes) -> Bad:
    return None, json.dumps({"run": "true", "id": id.decode()}).encode()


def odd_key(rng: random.Random, id: bytes) -> Bad:
    return rng.choice(
        [b"", b" ", b"\xff\xfe", b"a/b", b"a" * 65, b"x" * 10_000, id + b"\n", id + b"\x00"]
    ), GOOD


def other_id(_: random.Random, id: bytes) -> Bad:
    return id, json.dumps({"run": "true", "id": id.decode() + "x"}).encode()


def wrong_encoding(rng: random.Random, id: bytes) -> Bad:
    return id, '{"run": "ü"}'.encode(rng.choice(["utf-16", "utf-32", "latin-1"]))


def nested(rng: random.Random, id: bytes) -> Bad:
    depth = rng.choice([200, 2_000, 8_000])
    return id, rng.choice([b"[" * depth, b'{"run":' * (depth // 8), b"[" * depth + b"]" * depth])


def odd_reply_topic(rng: random.Random) -> Headers:
    """Of topics that nobody made, that are ours, and of no name at all."""
    names = [None, b"", b"\xff", b"replies.", b"replies.nobody", b"submissions.events", b"x" * 5000]
    return [(REPLY_TOPIC, rng.choice(names))]


def packed(rng: random.Random, id: bytes) -> Bad:
    return id, PACKED


ATTACKS: list[Callable[[random.Random, bytes], Bad]] = [
    *(not_json, cut_short, too_large, wrong_schema, null, missing_key),
    *(odd_key, other_id, wrong_encoding, nested, packed),
]


def odd_headers(rng: random.Random) -> Headers:
    """Any number of them, long, empty, twice, of bytes that are no text, and ours with nonsense in it."""
    names = ["ce_type", "ce_id", "", "ü", "x" * 3000, "content-type", "traceparent", "dead_letter_from", "x"]
    values = [b"", None, b"\xff\x00", b"envicutor.submission.finished.v1", b"v" * 5000]
    return [
        (rng.choice(names), rng.choice(values))
        for _ in range(rng.choice([0, 1, 3]) if rng.random() < 0.99 else 200)
    ]


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path) -> KafkaSettings:
    settings = KafkaSettings(
        bootstrap_servers=kafka,
        topic_prefix=topic_prefix,
        data_dir=tmp_path,
        request_bytes=REQUEST_BYTES,
        max_unfinished_from_kafka=10 * RECORDS,
    )
    ensure_topics(settings, catalogue(settings).topics())
    return settings


@pytest.fixture
def producer(settings: KafkaSettings) -> Iterator[EventProducer]:
    producer = EventProducer(settings)
    yield producer
    producer.close()


@pytest.fixture
def roles(settings: KafkaSettings, topics: Catalogue, producer: EventProducer) -> Iterator[Roles]:
    """The request handler and the store processor, neither of which may end."""
    producer.produce(package_set(topics)).result(60)
    with running_roles(settings, "request-handler", "submission-store") as processes:
        yield processes


def handled(settings: KafkaSettings, group: str, topic: str, records: int, roles: Roles) -> None:
    """Wait until a group has committed as many records of a topic."""

    def done() -> int:
        assert [role.poll() for role in roles] == [None, None], "a processor stopped"
        return sum(committed_offsets(settings, group, topic).values())

    what = f"{records} records of {topic} are handled"
    eventually(done, what, DEADLINE_S, enough=lambda count: count >= records)


@pytest.mark.timeout(2 * DEADLINE_S + 60)
def test_hostile_records_are_kept_and_hurt_nobody(
    settings: KafkaSettings, topics: Catalogue, producer: EventProducer, roles: Roles
) -> None:
    log.warning("HOSTILE_SEED=%d", SEED)
    rng = random.Random(SEED)
    good: set[str] = set()
    bad: Counter[bytes] = Counter()
    named: set[bytes] = set()
    said: deque[Future[Message]] = deque()
    for number in range(RECORDS):
        id = f"id-{number}"
        headers = odd_headers(rng)
        if rng.random() < GOOD_SHARE:
            good.add(id)
            record = Record(topics.requests.name, id.encode(), GOOD, headers)
        else:
            if rng.random() < ODD_REPLY_SHARE:
                record = Record(topics.requests.name, id.encode(), GOOD, headers + odd_reply_topic(rng))
            else:
                record = Record(topics.requests.name, *rng.choice(ATTACKS)(rng, id.encode()), headers)
            bad[identity(record)] += 1
            if isinstance(record.key, bytes) and re.fullmatch(rb"id-\d+", record.key):
                named.add(record.key)
        said.append(producer.produce(record))
        if len(said) > IN_FLIGHT:
            said.popleft().result(DEADLINE_S)
    for acknowledgement in said:
        acknowledgement.result(DEADLINE_S)

    handled(settings, REQUEST_GROUP, topics.requests.name, RECORDS, roles)
    kept: Counter[bytes] = Counter()
    for message in read_to_end(settings, topics.dead_letters.name):
        letter = decode_dead_letter(message)
        assert letter.reason
        kept[identity(letter.original)] += 1
    assert kept == bad
    facts = [decode_fact(m, FACTS) for m in read_to_end(settings, topics.submissions.events.name)]
    assert {event.id for event in facts if isinstance(event.fact, Requested)} == good
    assert {event.id.encode() for event in facts if isinstance(event.fact, Rejected)} == named
    handled(settings, topics.submissions.store_group, topics.submissions.events.name, len(facts), roles)
    rows = {message.key() for message in read_to_end(settings, topics.submissions.store.name)}
    assert rows == {id.encode() for id in good} | named


def identity(record: Record) -> bytes:
    return hashlib.sha256(repr(record).encode()).digest()


def test_other_content_under_a_used_id_is_kept_too(
    settings: KafkaSettings, topics: Catalogue, producer: EventProducer, roles: Roles
) -> None:
    for value in (GOOD, b'{"run": "false"}', b'{"run" : "true", "id": "same"}', b"{"):
        producer.produce(Record(topics.requests.name, b"same", value, [("x", b"y")])).result(60)
    handled(settings, topics.submissions.store_group, topics.submissions.events.name, 4, roles)
    letters = [decode_dead_letter(message) for message in read_to_end(settings, topics.dead_letters.name)]
    assert sorted(letter.origin.rsplit("/", 2)[0] for letter in letters) == sorted(
        [topics.submissions.events.name, topics.requests.name]
    )
    assert any(letter.reason.startswith("conflict") for letter in letters)
    assert all(("x", b"y") in letter.original.headers for letter in letters)


def test_a_bomb_stops_at_the_broker(settings: KafkaSettings, topics: Catalogue) -> None:
    """Packed it is small, and the client lets it pass; the broker looks at what is in it."""
    config = producer_config(settings, message_timeout_ms=60_000)
    limit = 200 * MiB
    bomb = Producer(config | {"compression.type": "zstd", "message.max.bytes": limit})
    told: list[object] = []
    bomb.produce(topics.requests.name, b"0" * (40 * MiB), b"bomb", on_delivery=lambda e, _: told.append(e))
    bomb.flush(60)
    [error] = told
    assert error is not None
    assert list(read_to_end(settings, topics.requests.name)) == []


def test_the_largest_record_that_the_broker_takes_is_kept(
    settings: KafkaSettings, topics: Catalogue, producer: EventProducer, roles: Roles
) -> None:
    value = random.Random(0).randbytes(topics.requests.max_message_bytes - 4 * KiB)
    headers: Headers = [("x", b"y" * 2 * KiB)]
    producer.produce(Record(topics.requests.name, b"large", value, headers)).result(60)
    handled(settings, REQUEST_GROUP, topics.requests.name, 1, roles)
    [letter] = [decode_dead_letter(message) for message in read_to_end(settings, topics.dead_letters.name)]
    assert (letter.original.value, letter.original.headers) == (value, headers)
