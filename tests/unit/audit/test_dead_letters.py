"""What is shown of dead letters, and which go back."""

import base64

import pytest
from confluent_kafka import Message

from infra.commands.dead_letters import line
from topics.audit.dead_letters import NotRetriableError, describe, original
from topics.catalogue import catalogue
from topics.kafka.codec import Headers, make_dead_letter
from topics.settings import KafkaSettings
from topics.topic import Topic

TOPICS = catalogue(KafkaSettings())
ODD: Headers = [("a", b"1"), ("a", b"\xff"), ("b", None)]


def letter(topic: str, key: bytes | None = b"id", value: bytes | None = b"\xff{") -> Message:
    record = make_dead_letter(
        TOPICS.dead_letters.name, Message(topic, 3, 7, key, value, ODD), "it is\nnot JSON"
    )
    assert not isinstance(record.value, str)
    return Message(record.topic, 1, 17, key, record.value, record.headers, timestamp=(2, 1_700_000_000_123))


def test_all_is_shown_and_no_byte_is_lost() -> None:
    shown = describe(letter(TOPICS.requests.name))
    assert (shown.letter, shown.time) == ("1/17", "2023-11-14T22:13:20.123Z")
    assert (shown.origin, shown.reason) == ("submissions.requests/3/7", "it is\nnot JSON")
    assert [header.name for header in shown.headers] == ["a", "a", "b"]
    assert shown.value
    assert base64.b64decode(shown.value.content) == b"\xff{"
    assert line(shown).split() == [
        *("1/17", "2023-11-14T22:13:20.123Z", "submissions.requests/3/7", "id", "it", "is", "not", "JSON")
    ]


def test_a_hostile_key_steers_no_terminal() -> None:
    assert "\x1b" not in line(describe(letter(TOPICS.requests.name, b"\x1b[2J")))


@pytest.mark.parametrize("topic", [TOPICS.requests, TOPICS.webhooks, TOPICS.webhook_retries])
def test_requests_and_webhooks_go_back_as_they_came(topic: Topic) -> None:
    record = original(TOPICS, letter(topic.name, None, None))
    assert record == (topic.name, None, None, ODD)


@pytest.mark.parametrize(
    ("topic", "instead"),
    [
        (TOPICS.submissions.events.name, "audit show"),
        (TOPICS.dependencies.queue.name, "--repair"),
        (TOPICS.submissions.leases.name, "requests and webhooks only"),
    ],
)
def test_nothing_else_goes_back_and_it_is_said_what_to_do(topic: str, instead: str) -> None:
    with pytest.raises(NotRetriableError, match=instead):
        original(TOPICS, letter(topic))


def test_what_nobody_of_ours_wrote_is_shown_and_does_not_go_back() -> None:
    foreign = Message(TOPICS.dead_letters.name, 0, 1, b"id", b"x", ODD, timestamp=(2, 1))
    assert describe(foreign).reason.startswith("not a dead letter")
    with pytest.raises(NotRetriableError):
        original(TOPICS, foreign)
