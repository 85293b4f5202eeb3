"""What the store may say while the system lives, and what it may not."""

import pytest

from tests.unit.audit.messages import SUBMISSIONS, event, request, rubbish
from topics.audit.replay import Replay
from topics.fold import Recorded
from topics.kafka.codec import encode
from topics.submissions.facts import Cancelled, Started, SubmissionFact
from topics.submissions.fold import apply
from topics.submissions.state import Submission

FACTS: list[SubmissionFact] = [
    request(),
    Started(attempt=1, worker="w"),
    Started(attempt=7, worker="w"),
    Cancelled(),
]
"""One of them is refused."""


def states() -> list[bytes | None]:
    """Of the store, before the first fact and after each."""
    state: Submission | None = None
    found: list[bytes | None] = [None]
    for fact in FACTS:
        state = apply(state, Recorded("one", fact, 1)).state
        assert state
        found.append(encode(state))
    return found


def replayed(before: int, after: int) -> Replay:
    replay = Replay(SUBMISSIONS, {0: before}, {0: after})
    for offset, fact in enumerate(FACTS):
        replay.add(event("one", fact, offset))
    return replay


def store(state: bytes | None) -> dict[str, bytes]:
    return {} if state is None else {"one": state}


@pytest.mark.parametrize("before", range(len(FACTS) + 1))
@pytest.mark.parametrize("after", range(len(FACTS) + 1))
def test_store_may_say_what_the_log_made_between_the_reads(before: int, after: int) -> None:
    if after < before:
        return
    replay, log = replayed(before, after), states()
    allowed = set(log[before : after + 1])
    for state in log:
        assert (replay.differences(store(state)) == []) == (state in allowed)


def test_refused_events_change_nothing_and_count() -> None:
    replay = replayed(4, 4)
    assert (replay.events, replay.refused) == (4, 1)
    assert replay.folded.states["one"] == states()[-1]


def test_events_that_are_not_folded_yet_are_news() -> None:
    assert replayed(0, 0).waiting == {"one"}
    assert replayed(4, 4).waiting == set()


def test_tampered_lost_and_invented_records_are_found() -> None:
    replay, final = replayed(4, 4), states()[-1]
    assert final
    tampered = final.replace(b"cancelled", b"finished")
    assert [d.found for d in replay.differences({"one": tampered})] == [tampered]
    assert [(d.id, d.found) for d in replay.differences({})] == [("one", None)]
    invented = replay.differences({"one": final, "two": b"{}"})
    assert [(d.id, d.expected) for d in invented] == [("two", None)]


def test_unreadable_events_are_counted() -> None:
    replay = replayed(4, 5)
    replay.add(rubbish("one", 4))
    assert replay.unreadable == 1
    assert replay.differences(store(states()[-1])) == []


def test_rows_from_before_the_log_begins_are_not_compared() -> None:
    """The times of these events are 1 ms after 1970 began."""
    replay = Replay(SUBMISSIONS, {0: 9}, {0: 9})
    replay.add(event("new", request(), 7))
    old = request_state("old").replace(created_at="1970-01-01T00:00:00.000Z")
    stored = {
        "new": encode(request_state("new")),
        "old": encode(old),
        "invented": encode(request_state("invented")),
    }
    assert [difference.id for difference in replay.differences(stored)] == ["invented"]
    assert replay.rows_before_log_start == 1

    nothing_left = Replay(SUBMISSIONS, {0: 9}, {0: 9})
    assert nothing_left.differences(stored) == []
    assert nothing_left.rows_before_log_start == 3


def request_state(id: str) -> Submission:
    state = apply(None, Recorded(id, request(), 1)).state
    assert state
    return state
