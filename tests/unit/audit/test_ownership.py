"""Who owns which attempt."""

from typing import Literal

from tests.unit.audit.messages import SUBMISSIONS, event, request
from topics.audit.ownership import Leases, unowned_attempts
from topics.audit.replay import Replay
from topics.leases import Lease
from topics.submissions.facts import Cancelled, Started

ATTEMPT = ("one", 1)


def held(*said: tuple[Literal["taken", "renewed", "released"], str]) -> bool:
    leases = Leases()
    for kind, worker in said:
        leases.add(Lease(kind=kind, id="one", attempt=1, worker=worker))
    return ATTEMPT in leases.attempts


def test_a_lease_is_held_until_its_worker_releases_it() -> None:
    assert held(("taken", "a"))
    assert held(("renewed", "a"))
    assert not held(("taken", "a"), ("released", "a"))
    assert not held(("released", "a"))
    assert held(("taken", "a"), ("taken", "b"), ("released", "a"))


def test_an_attempt_needs_an_owner_or_news() -> None:
    assert unowned_attempts({ATTEMPT}, set(), set(), set()) == [ATTEMPT]
    assert unowned_attempts({ATTEMPT}, {ATTEMPT}, set(), set()) == []
    assert unowned_attempts({ATTEMPT}, set(), {ATTEMPT}, set()) == []
    assert unowned_attempts({ATTEMPT}, set(), set(), {"one"}) == []


def test_another_attempt_on_the_queue_is_no_owner() -> None:
    assert unowned_attempts({("one", 2)}, {ATTEMPT}, {ATTEMPT}, set()) == [("one", 2)]


def test_what_is_final_needs_nobody() -> None:
    replay = Replay(SUBMISSIONS, {0: 9}, {0: 9})
    replay.add(event("one", request(), 0))
    replay.add(event("two", request(), 1))
    replay.add(event("two", Cancelled(), 2))
    assert replay.folded.unfinished == {ATTEMPT}


def test_what_the_store_processor_owes_needs_nobody_else() -> None:
    replay = Replay(SUBMISSIONS, {0: 9}, {0: 9})
    replay.add(event("one", request().replace(dispatch="direct"), 0))
    assert replay.folded.owed.keys() == {"one"}
    replay.add(event("one", Started(attempt=1, worker="w"), 1))
    assert not replay.folded.owed
