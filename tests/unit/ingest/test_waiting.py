"""Places of submissions that wait, compared with the turns that the store processor takes."""

import random

import pytest

from ingest.models import SubmissionWait
from ingest.waiting import WaitingSubmissions
from processors.store.turns import Turn, Turns
from tests.support.submissions import STARTED, finished, request
from topics.fold import Recorded
from topics.submissions.facts import HandedBack, Requested, SubmissionFact
from topics.submissions.fold import apply, owed
from topics.submissions.state import Submission

NOW_MS = 1_800_000_000_000
TURN = request(source="http").replace(dispatch="turn")


class Folded:
    """States of submissions, of which each event is noted."""

    def __init__(self) -> None:
        self.waiting = WaitingSubmissions()
        self.states: dict[str, Submission] = {}

    def note(self, id: str, fact: SubmissionFact, time_ms: int = NOW_MS) -> bool:
        recorded = Recorded(id, fact, time_ms)
        state = apply(self.states.get(id), recorded).state
        assert state
        self.states[id] = state
        return self.waiting.note(recorded, state)

    def before(self, id: str) -> int | None:
        place = self.waiting.wait_of(id, NOW_MS)
        return place.before if place else None


def requested(owner: str, *, interactive: bool = False) -> Requested:
    return TURN.replace(owner=owner, interactive=interactive)


@pytest.mark.parametrize("seed", range(20))
def test_places_are_those_of_the_turns(seed: int) -> None:
    rng = random.Random(seed)
    folded, turns = Folded(), Turns()
    for number in range(60):
        id = f"s{number:02}"
        folded.note(id, requested(rng.choice("aab"), interactive=rng.random() < 0.3), NOW_MS + number)
        each = owed(folded.states[id])
        assert each
        turns.add(Turn(0, id, each.owner, each.interactive, each.created_at, maybe_enqueued=False))
    places = {id: folded.before(id) for id in folded.states}
    for taken in range(60):
        place = places[turns.take(0.0).id]
        assert place is not None
        assert abs(place - taken) <= 2, "one other owner, whose turn may come first"


def test_a_submission_waits_until_it_is_started() -> None:
    folded = Folded()
    assert not folded.note("a", requested("x"))
    assert not folded.note("b", requested("x"))
    assert (folded.before("a"), folded.before("b"), folded.before("c")) == (0, 1, None)
    assert folded.waiting.undispatched
    assert folded.note("a", STARTED), "its first start"
    assert (folded.before("a"), folded.before("b")) == (None, 0)
    folded.note("a", HandedBack(attempt=1, worker="w", reason="its worker ends"))
    assert (folded.before("a"), folded.before("b")) == (0, 1), "a later attempt is on the queue already"
    assert not folded.note("a", STARTED.replace(attempt=2))
    assert not folded.note("b", finished())
    assert not folded.waiting.undispatched
    assert folded.waiting.oldest_s(NOW_MS) == 0


def test_what_is_dispatched_keeps_nothing_else_from_it() -> None:
    folded = Folded()
    folded.note("a", requested("x").replace(dispatch="direct"))
    assert not folded.waiting.undispatched
    assert folded.before("a") == 0
    folded.note("b", requested("x"))
    assert folded.before("b") == 0


def test_what_waited_before_the_start_waits() -> None:
    before = Folded()
    for number in range(3):
        before.note(f"s{number}", requested("x"), NOW_MS + number)
    after = Folded()
    after.waiting.load(before.states.values(), NOW_MS)
    assert [after.before(f"s{number}") for number in range(3)] == [0, 1, 2]


def test_the_estimate_is_by_the_starts_since_the_oldest_waits() -> None:
    folded = Folded()
    for number in range(31):
        folded.note(f"s{number}", requested("x"), NOW_MS)
    assert folded.waiting.wait_of("s30", NOW_MS + 100) == SubmissionWait(
        reason="worker", before=30, estimate_s=None
    )
    for number in range(10):
        folded.note(f"s{number}", STARTED, NOW_MS + 200 * (number + 1))
    assert folded.waiting.oldest_s(NOW_MS + 2000) == 2.0
    place = folded.waiting.wait_of("s30", NOW_MS + 2000)
    assert place == SubmissionWait(reason="worker", before=20, estimate_s=4.2), "5 of them a second"


def test_a_corrected_state_counts() -> None:
    folded = Folded()
    for id in "ab":
        folded.note(id, requested("x"))
    folded.waiting.correct("a", None)
    assert (folded.before("a"), folded.before("b")) == (None, 0)
    folded.waiting.correct("a", folded.states["a"])
    assert folded.before("a") == 1


def test_many_owners() -> None:
    folded = Folded()
    for number in range(10):
        folded.note(f"a{number}", requested("a"))
    for owner in range(100):
        folded.note(f"o{owner}", requested(str(owner)))
    assert folded.before("a0") == 0
    assert folded.before("a1") == 1 + 100, "each other owner has a turn first"
    assert folded.before("a9") == 9 + 100
    assert folded.before("o50") == 0
