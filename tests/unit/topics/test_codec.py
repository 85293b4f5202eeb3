"""Facts on the wire and back, and what is refused there."""

import json
from contextlib import suppress

import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.topics import facts
from topics.dependencies.facts import FACTS as DEPENDENCIES_FACTS
from topics.dependencies.facts import DependenciesFact
from topics.kafka.codec import (
    CARRIED_BYTES,
    CARRIED_HEADERS,
    DecodeError,
    Headers,
    Record,
    carried,
    decode_dead_letter,
    decode_fact,
    encode,
    encode_fact,
    fact_headers,
    header,
    make_dead_letter,
)
from topics.submissions.facts import FACTS as SUBMISSION_FACTS
from topics.submissions.facts import Started, SubmissionFact

STARTED = "envicutor.submission.started.v1"
VALUE = b'{"ago_s":0.0,"attempt":1,"worker":"w"}'
TYPE: Headers = [("ce_type", STARTED.encode())]


def on_the_log(record: Record, time_ms: int = 1) -> Message:
    assert isinstance(record.key, bytes)
    assert isinstance(record.value, bytes)
    return Message(record.topic, 0, 7, record.key, record.value, record.headers, timestamp=(2, time_ms))


def message(key: bytes | None = b"a", value: bytes | None = VALUE, headers: Headers | None = None) -> Message:
    return Message("events", 3, 7, key, value, TYPE if headers is None else headers, timestamp=(2, 1))


@settings(max_examples=50)
@given(facts.of_submissions)
def test_facts_of_submissions_come_back(fact: SubmissionFact) -> None:
    recorded = decode_fact(
        on_the_log(encode_fact("events", "id", fact, SUBMISSION_FACTS, "test"), 1_700_000_000_123),
        SUBMISSION_FACTS,
    )
    assert (recorded.id, recorded.fact, recorded.time) == ("id", fact, "2023-11-14T22:13:20.123Z")
    assert encode(recorded.fact) == encode(fact)


@settings(max_examples=50)
@given(facts.of_dependencies)
def test_facts_of_dependencies_come_back(fact: DependenciesFact) -> None:
    record = encode_fact("events", "id", fact, DEPENDENCIES_FACTS, "test")
    recorded = decode_fact(on_the_log(record), DEPENDENCIES_FACTS)
    assert (recorded.id, recorded.fact) == ("id", fact)
    assert encode(recorded.fact) == encode(fact)


def test_records_are_cloud_events() -> None:
    record = encode_fact("events", "id", Started(attempt=1, worker="w"), SUBMISSION_FACTS, "worker/7")
    headers = dict(record.headers)
    assert (record.key, record.value) == (b"id", VALUE)
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == STARTED.encode()
    assert headers["ce_source"] == b"/envicutor/worker/7"
    assert headers["ce_subject"] == b"id"
    assert headers["content-type"] == b"application/json"
    assert {"ce_id", "ce_time"} <= headers.keys()


@pytest.mark.parametrize(
    ("unreadable", "why"),
    [
        (message(headers=[]), "unknown ce_type None"),
        (message(headers=[("ce_type", b"other")]), "unknown ce_type 'other'"),
        (message(headers=[("ce_type", b"\xff")]), "unknown ce_type None"),
        (message(headers=[("ce_type", None)]), "unknown ce_type None"),
        (message(key=None), "no key"),
        (message(key=b""), "no key"),
        (message(key=b"\xff"), "not UTF-8"),
        (message(value=None), "not a Started"),
        (message(value=b""), "not a Started"),
        (message(value=b"\xff"), "not a Started"),
        (message(value=b"[]"), "not a Started"),
        (message(value=b"[" * 100_000), "not a Started"),
        (message(value=b'{"attempt":1}'), "not a Started: Field required"),
        (message(value=b'{"attempt":"1","worker":"w"}'), "not a Started"),
        (message(value=b'{"attempt":true,"worker":"w"}'), "not a Started"),
        (message(value=b'{"attempt":1.5,"worker":"w"}'), "not a Started"),
        (message(value=b'{"attempt":1,"worker":"\\ud800"}'), "not a Started"),
    ],
)
def test_what_is_not_promised_is_told(unreadable: Message, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode_fact(unreadable, SUBMISSION_FACTS)


def test_what_a_later_version_adds_is_left_out() -> None:
    """While a cluster is upgraded: an answer must not be lost on a store that is one version older."""
    again = decode_fact(message(value=b'{"attempt":1,"worker":"w","more":{"x":1}}'), SUBMISSION_FACTS)
    assert again.fact == Started(attempt=1, worker="w")


@settings(max_examples=50)
@given(st.none() | st.binary(), st.none() | st.binary(), st.sampled_from([*SUBMISSION_FACTS, "x"]))
def test_nothing_else_is_raised(key: bytes | None, value: bytes | None, ce_type: str) -> None:
    unknown = message(key, value, [("ce_type", ce_type.encode())])
    with suppress(DecodeError):
        decode_fact(unknown, SUBMISSION_FACTS)


def test_dead_letters_are_the_record_as_it_came_and_say_from_where_and_why() -> None:
    letter = make_dead_letter("dead-letters", message(b"\xff", b"\xfe"), "because " * 1000)
    assert (letter.topic, letter.key, letter.value) == ("dead-letters", b"\xff", b"\xfe")
    assert letter.headers[:1] == TYPE
    assert dict(letter.headers)["dead_letter_from"] == b"events/3/7"
    assert (dict(letter.headers)["dead_letter_reason"] or b"")[:8] == b"because "


def test_dead_letters_give_the_record_back_even_one_that_looks_like_a_dead_letter() -> None:
    odd: Headers = [*TYPE, ("dead_letter_from", b"elsewhere/0/0"), ("a", None), ("a", b"\xff")]
    letter = make_dead_letter("dead-letters", message(b"\xff", None, odd), "because \ud800")
    opened = decode_dead_letter(Message("dead-letters", 0, 1, b"\xff", None, letter.headers))
    assert opened == ("events/3/7", "because \\ud800", Record("events", b"\xff", None, odd))
    with pytest.raises(DecodeError):
        decode_dead_letter(message(headers=odd))


def test_own_headers_are_not_carried_and_others_are_in_order() -> None:
    own = fact_headers("id", Started(attempt=1, worker="w"), SUBMISSION_FACTS, "test")
    others: Headers = [("traceparent", b"00-1"), ("ce_tenant", b"t"), ("x", None), ("x", b"\xff")]
    assert carried([*own, *others]) == others
    record = encode_fact("e", "id", Started(attempt=1, worker="w"), SUBMISSION_FACTS, "test", others)
    assert record.headers[-4:] == others


@given(st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=2000))))
def test_what_is_carried_is_bounded(many: list[tuple[str, bytes | None]]) -> None:
    fitting = carried([*many])
    assert len(fitting) <= CARRIED_HEADERS
    assert sum(len(name.encode()) + len(value or b"") for name, value in fitting) <= CARRIED_BYTES


def test_the_last_of_equal_headers_counts_and_none_is_no_error() -> None:
    assert header(message(headers=[("a", b"1"), ("a", b"2")]), "a") == "2"
    assert header(Message("events", 0, 0), "a") is None


def test_json_is_canonical() -> None:
    started = Started(worker="ü", attempt=1)
    assert encode(started) == '{"ago_s":0.0,"attempt":1,"worker":"ü"}'.encode()
    assert json.loads(encode(started)) == started.model_dump()
