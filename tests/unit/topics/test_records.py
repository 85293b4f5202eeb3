"""Records among errors, as a client returns them."""

import logging

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from topics.kafka.records import position, usable

RECORD = Message("events", 2, 7, b"id", b"value", [])


def error(code: int, *, fatal: bool = False) -> Message:
    return Message("events", 0, 0, error=KafkaError(code, "reason", fatal))


def test_position() -> None:
    assert position(RECORD) == (2, 7)


def test_an_error_is_logged_and_the_records_around_it_are_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert list(usable([RECORD, error(KafkaError._TRANSPORT), RECORD], "reader")) == [RECORD, RECORD]
    assert [record.message.split(":")[0] for record in caplog.records] == ["reader"]


def test_a_fatal_error_is_raised_after_the_records_before_it() -> None:
    found = usable([RECORD, error(KafkaError._TRANSPORT, fatal=True), RECORD], "reader")
    assert next(found) is RECORD
    with pytest.raises(KafkaException):
        next(found)
