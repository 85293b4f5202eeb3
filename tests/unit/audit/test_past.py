"""The stores at a moment, and events for other tools."""

import pytest
from confluent_kafka import Message

from tests.unit.audit.messages import SUBMISSIONS, request
from topics.audit.folded_states import export, stores_at
from topics.fold import Recorded
from topics.kafka.codec import encode, encode_fact
from topics.submissions.facts import FACTS, Cancelled, Started, SubmissionFact
from topics.submissions.fold import apply
from topics.submissions.state import Submission
from topics.times import milliseconds

SAID: list[tuple[str, SubmissionFact]] = [
    ("one", request()),
    ("two", request("false")),
    ("one", Started(attempt=1, worker="w")),
    ("one", Started(attempt=7, worker="w")),
    ("one", Cancelled()),
]


def event(time_ms: int, id: str, fact: SubmissionFact) -> Message:
    record = encode_fact("submissions.events", id, fact, FACTS, "worker/w")
    assert isinstance(record.value, bytes)
    return Message(
        record.topic, 0, time_ms, id.encode(), record.value, record.headers, timestamp=(2, time_ms)
    )


LOG = [event(time_ms, *said) for time_ms, said in enumerate(SAID)]
LOG.append(Message("submissions.events", 0, 5, b"one", b"rubbish", [], timestamp=(2, 5)))


@pytest.mark.parametrize("time_ms", range(-1, 7))
def test_stores_at_a_moment_are_the_fold_until_then(time_ms: int) -> None:
    states: dict[str, Submission] = {}
    for at_ms, (id, fact) in enumerate(SAID[: time_ms + 1]):
        folded = apply(states.get(id), Recorded(id, fact, at_ms))
        if folded.state and not folded.refused:
            states[id] = folded.state
    assert stores_at(SUBMISSIONS, LOG, time_ms) == {id: encode(state) for id, state in states.items()}


def test_exported_events_say_all_and_what_became_of_them() -> None:
    events = list(export(SUBMISSIONS, LOG, 2, 6))
    assert [(event.id, event.attempt, event.disposition.split(":")[0]) for event in events] == [
        ("one", 1, "accepted"),
        ("one", 7, "refused"),
        ("one", None, "accepted"),
        ("one", None, "refused"),
    ]
    assert events[0].fact == {"ago_s": 0.0, "attempt": 1, "worker": "w"}
    assert (events[0].time, events[0].subject) == ("1970-01-01T00:00:00.002Z", "submissions")
    assert events[-1].fact is None


def test_the_window_is_half_open() -> None:
    offsets = [event.offset.rsplit("/", 1)[1] for event in export(SUBMISSIONS, LOG, 1, 3)]
    assert offsets == ["1", "2"]


def test_times_are_of_utc_unless_they_say_otherwise() -> None:
    assert milliseconds("1970-01-01T00:00:01") == milliseconds("1970-01-01T01:00:01+01:00") == 1000
    assert milliseconds("1970-01-02") == 86_400_000
    with pytest.raises(ValueError, match="Invalid"):
        milliseconds("yesterday")
