"""What a record of `submissions.requests` asks for."""

import json
import time

import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.ids import derive_id
from processors.request_records import handle
from tests.support.costly_requests import BYTES, RATIO, costly, ordinary
from tests.support.submissions import PINS
from topics.kafka.codec import DecodeError
from topics.request.errors import InvalidRequestError, NotJsonError, RequestTooLargeError
from topics.request.limits import MiB
from topics.request.parsing import content_hash
from topics.submissions.facts import CANCEL, Cancelled, Requested

BODY = {"run": "true"}
REQUEST_BYTES = 1000


def asked(key: bytes | None, value: bytes | None, ce_type: str | None = None) -> object:
    headers: list[tuple[str, str | bytes | None]] = [("ce_type", ce_type.encode())] if ce_type else []
    return handle(Message("requests", 0, 0, key, value, headers), PINS, REQUEST_BYTES)


def body(**changes: object) -> bytes:
    return json.dumps(BODY | changes).encode()


@pytest.mark.parametrize("value", [body(), body(id="a")])
def test_a_good_request_is_accepted_under_its_key(value: bytes) -> None:
    match asked(b"a", value):
        case ("a", Requested() as fact):
            assert fact.request.run == "true"
            assert (fact.package_set, fact.source) == ("pin", "kafka")
            assert fact.content_hash == content_hash(BODY)
        case other:
            pytest.fail(repr(other))


def test_the_package_set_that_a_request_names_gives_its_pin() -> None:
    match asked(b"a", body(package_set="debian-13")):
        case ("a", Requested() as fact):
            assert (fact.package_set, fact.request.package_set) == ("pin-13", "debian-13")
        case other:
            pytest.fail(repr(other))
    match asked(b"a", body(package_set="debian-14")):
        case InvalidRequestError() as refused:
            (error,) = refused.errors
            assert error.field == "package_set"
            assert error.message == "there is no package set 'debian-14'; offered: debian-12, debian-13"
        case other:
            pytest.fail(repr(other))


def test_how_many_attempts_are_allowed_is_written_down() -> None:
    match handle(Message("requests", 0, 0, b"a", body(), []), PINS, REQUEST_BYTES, 7):
        case ("a", Requested() as fact):
            assert fact.allowed_attempts == 7
        case other:
            pytest.fail(repr(other))


def test_a_callback_url_is_judged_before_it_is_on_the_log() -> None:
    message = Message("requests", 0, 0, b"a", body(callback_url="http://hooks.test/"), [])
    match handle(message, PINS, REQUEST_BYTES):
        case InvalidRequestError() as refused:
            assert [error.field for error in refused.errors] == ["callback_url"]
        case other:
            pytest.fail(repr(other))
    assert isinstance(handle(message, PINS, REQUEST_BYTES, webhook_allow=["hooks.test:80"]), tuple)


def test_the_same_request_is_the_same_over_http_and_kafka() -> None:
    """With and without the id in the body."""
    plain, named = asked(b"a", body()), asked(b"a", body(id="a"))
    assert isinstance(plain, tuple)
    assert isinstance(named, tuple)
    assert plain[1].content_hash == named[1].content_hash


@pytest.mark.parametrize(
    ("value", "error", "field"),
    [
        (b"{", NotJsonError, ""),
        (None, NotJsonError, ""),
        (b"x" * (REQUEST_BYTES + 1), RequestTooLargeError, ""),
        (body(flavour="python"), InvalidRequestError, "flavour"),
        (body(language="pyhton"), InvalidRequestError, "language"),
        (body(id="b"), InvalidRequestError, "id"),
        (body(limits={"run": {"cpus": 3}}), InvalidRequestError, "limits.run.cpus"),
    ],
)
def test_a_bad_request_with_an_id_is_rejected_by_field(
    value: bytes | None, error: type[InvalidRequestError], field: str
) -> None:
    refusal = asked(b"a", value)
    assert isinstance(refusal, InvalidRequestError)
    assert type(refusal) is error
    assert refusal.errors[0].field == field


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"a b", b"a" * 65, b"a\n", b"../x"])
@pytest.mark.parametrize("ce_type", [None, CANCEL])
def test_without_a_readable_id_there_is_nobody_to_tell(key: bytes | None, ce_type: str | None) -> None:
    with pytest.raises(DecodeError):
        asked(key, body(), ce_type)


@pytest.mark.parametrize("value", [None, b"", b"{", body()])
def test_a_cancellation_is_told_by_its_header_alone(value: bytes | None) -> None:
    assert asked(b"a", value, CANCEL) == ("a", Cancelled())


@settings(max_examples=50)
@given(st.binary(), st.none() | st.sampled_from([CANCEL, "other"]))
def test_any_bytes_are_answered(value: bytes, ce_type: str | None) -> None:
    assert isinstance(asked(b"a", value, ce_type), tuple | InvalidRequestError)


def test_no_record_has_an_id_that_is_made_of_an_idempotency_key() -> None:
    made = derive_id("homework", "5b1f0c9a77e2").encode()
    refusal = asked(made, body())
    assert isinstance(refusal, InvalidRequestError)
    assert refusal.errors[0].field == "id"
    assert asked(made, None, CANCEL) == (made.decode(), Cancelled())


def naming(topic: bytes | None) -> object:
    message = Message("requests", 0, 0, b"a", body(), [("reply_topic", topic)])

    def refusal(name: str) -> str | None:
        return None if name == "replies.a" else f"{name!r} is not allowed"

    return handle(message, PINS, REQUEST_BYTES, refusal=refusal)


def test_a_reply_topic_that_is_allowed_is_written_down() -> None:
    match naming(b"replies.a"):
        case ("a", Requested() as fact):
            assert fact.reply_topic == "replies.a"
        case other:
            pytest.fail(repr(other))


@pytest.mark.parametrize("name", [b"submissions.events", b"", None, b"\xff", b"replies.a\x00"])
def test_any_other_reply_topic_is_refused(name: bytes | None) -> None:
    refusal = naming(name)
    assert isinstance(refusal, InvalidRequestError)
    assert refusal.errors[0].field == "reply_topic"


def cpu_s(value: bytes) -> float:
    """The least that it takes to handle a record."""
    taken_s = []
    for _ in range(2):
        started = time.process_time()
        handle(Message("requests", 0, 0, b"a", value, []), PINS, MiB)
        taken_s.append(time.process_time() - started)
    return min(taken_s)


def test_no_record_delays_others_much_longer_than_an_ordinary_one() -> None:
    usual_s = cpu_s(ordinary(BYTES - 2))
    ratios = {name: round(cpu_s(value) / usual_s, 1) for name, value in costly(BYTES - 2).items()}
    assert {name: ratio for name, ratio in ratios.items() if ratio > RATIO} == {}
