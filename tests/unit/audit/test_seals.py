"""What a seal finds, and what it lets pass."""

import dataclasses
from collections.abc import Sequence

import pytest
from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.audit.messages import SUBMISSIONS
from topics.audit.sealed import Inspection, Sealing, Seals, read_seals
from topics.audit.seals import OffsetRange, canonical, fingerprint, make_seal_record
from topics.kafka.codec import Headers
from topics.topic import Topic

KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
TOPIC = SUBMISSIONS.family.events
EXPIRING = dataclasses.replace(TOPIC, retention_ms=1000)
NOW_MS = 10_000


def record(offset: int, value: bytes = b"value", time_ms: int | None = None) -> Message:
    return Message(
        TOPIC.name,
        0,
        offset,
        b"key",
        value,
        [("name", b"of header")],
        timestamp=(2, time_ms or 1000 + offset),
    )


LOG = [record(offset) for offset in range(30)]


def seal_records(log: Sequence[Message], size: int, key: Ed25519PrivateKey = KEY) -> list[Message]:
    """What stands on `audit.seals` when every `size` records are sealed."""
    messages: list[Message] = []
    begun, previous = OffsetRange(0), ""
    for message in log:
        begun.add(message)
        if begun.records == size:
            record = make_seal_record("audit.seals", begun.seal(TOPIC.name, 0, previous), key, "sealer")
            assert isinstance(record.value, bytes)
            messages.append(
                Message("audit.seals", 0, len(messages), None, record.value, record.headers, timestamp=(2, 1))
            )
            begun, previous = OffsetRange(begun.next_offset), fingerprint(record.value)
    return messages


def opened(messages: Sequence[Message]) -> Seals:
    return read_seals(messages, (KEY.public_key(),))


def inspected(log: Sequence[Message], topic: Topic = TOPIC) -> Sealing:
    seals = opened(seal_records(LOG, 10))
    assert seals.flaws == []
    inspection = Inspection(topic, seals.chains, NOW_MS)
    for message in log:
        inspection.add(message)
    return inspection.finish()


def test_the_log_as_it_was_has_no_flaw() -> None:
    found = inspected([*LOG, record(30), record(31)])
    assert (found.flaws, found.expired, found.unsealed) == ([], 0, 2)
    assert found.sealed == [
        "submissions.events/0 is sealed before offset 30 (1970-01-01T00:00:01.029Z) by 3 seals"
    ]


@given(st.integers(0, 29), st.sampled_from(["alter", "remove", "move", "date"]))
def test_whatever_is_done_to_a_sealed_record_is_found_in_its_range(at: int, what: str) -> None:
    log = list(LOG)
    match what:
        case "alter":
            log[at] = record(at, b"other value")
        case "remove":
            del log[at]
        case "move":
            log[at] = record(at, b"a neighbour's")
        case "date":
            log[at] = record(at, time_ms=5)
    [flaw] = inspected(log).flaws
    first = at // 10 * 10
    assert flaw.startswith(
        f"submissions.events/0 is not as it was sealed in offsets {first} to {first + 9}: "
    )


def test_a_log_that_ends_too_soon_is_found() -> None:
    assert [flaw.split(": ")[1] for flaw in inspected(LOG[:15]).flaws] == [
        "10 records were sealed, 5 are there",
        "10 records were sealed, 0 are there",
    ]


def test_only_what_is_old_enough_may_be_gone() -> None:
    assert inspected(LOG[15:], EXPIRING).expired == 2
    assert inspected(LOG[15:], EXPIRING).flaws == []
    assert len(inspected(LOG[15:]).flaws) == 2
    assert inspected([], EXPIRING).expired == 3
    young = dataclasses.replace(
        TOPIC, retention_ms=NOW_MS - 1015
    )  # of the second range the first half is older
    assert inspected(LOG[15:], young).flaws == []
    assert len(inspected(LOG[20:], young).flaws) == 1


def test_seals_that_are_forged_removed_or_repeated_are_found() -> None:
    seals = seal_records(LOG, 10)
    assert len(opened(seal_records(LOG, 10, OTHER_KEY)).flaws) == 3
    assert len(opened([seals[0], seals[2]]).flaws) == 1
    assert len(opened(seals[1:]).flaws) == 1
    assert len(opened([*seals, seals[2]]).flaws) == 1
    [flaw] = opened([*seals[:2], Message("audit.seals", 0, 2, b"key", b"rubbish", [])]).flaws
    assert flaw.startswith("audit.seals/0/2 is not a seal: ")


Parts = tuple[bytes | None, bytes | None, Headers]
PART = st.none() | st.binary(max_size=3)
PARTS = st.tuples(PART, PART, st.lists(st.tuples(st.text("ab", max_size=2), PART), max_size=2))


@given(PARTS, PARTS)
def test_different_records_are_hashed_differently(one: Parts, other: Parts) -> None:
    def bytes_of(parts: Parts) -> bytes:
        key, value, headers = parts
        return canonical(Message("topic", 0, 7, key, value, headers, timestamp=(2, 1)))

    assert (bytes_of(one) == bytes_of(other)) == (one == other)


@pytest.mark.parametrize("message", [record(8), record(7, time_ms=9)])
def test_place_and_time_are_hashed(message: Message) -> None:
    assert canonical(record(7)) != canonical(message)
