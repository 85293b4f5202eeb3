"""What the store may say while the system lives, and what it may not."""

import pytest

from tests.unit.audit.messages import SUBMISSIONS, event, request, rubbish
from topics.audit.replay import Replay
from topics.codec import encode
from topics.fold import Recorded
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
    assert replay.past.states["one"] == states()[-1]


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
