"""What must hold of sets of dependencies whatever happens, in whatever order, however often."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.topics import facts
from topics.dependencies.artifacts import Artifact
from topics.dependencies.facts import (
    DependenciesFact,
    Evicted,
    Failed,
    HandedBack,
    Installed,
    LeaseExpired,
    Lost,
    Requested,
    Started,
)
from topics.dependencies.fold import apply
from topics.dependencies.state import Build, EnvironmentState
from topics.fold import Effect, Enqueue, Folded, Recorded, Stop
from topics.kafka.codec import encode
from topics.request.limits import DependenciesLimits
from topics.request.model import BASE

REQUESTED = Requested(dependencies=BASE, package_set="p", system="s", limits=DependenciesLimits())


def installed(attempt: int = 1, *, published: bool = False) -> Installed:
    return Installed(
        attempt=attempt,
        builder="b",
        host="h",
        store_path="/s",
        variables={},
        packages=(),
        size_bytes=1,
        wall_time_s=1.0,
        published=published,
    )


def failed(attempt: int = 1, expires_s: float = 10.0) -> Failed:
    return Failed(
        attempt=attempt,
        builder="b",
        fault="theirs",
        explanation="no such package",
        log="",
        wall_time_s=1.0,
        expires_s=expires_s,
    )


def too_small(attempt: int = 1) -> Failed:
    return failed(attempt).replace(fault="limit", expires_s=1e6)


def allowing(wall_time_s: float, memory_bytes: int = 2 << 30) -> Requested:
    return REQUESTED.replace(limits=DependenciesLimits(wall_time_s=wall_time_s, memory_bytes=memory_bytes))


def fold(*log: DependenciesFact, seconds: float = 0.001) -> Folded[EnvironmentState]:
    """The last fact's effects, on the state that all of them made, `seconds` apart."""
    folded: Folded[EnvironmentState] = Folded(None)
    for number, fact in enumerate(log):
        folded = apply(folded.state, Recorded("id", fact, round(number * seconds * 1000)))
    return folded


def state(*log: DependenciesFact) -> EnvironmentState:
    environment = fold(*log).state
    assert environment
    return environment


RESOLUTION = (Artifact(registry="npm", name="a", version="1.0.0", url="https://a", hash="sha512:0"),)
OTHER = (RESOLUTION[0].replace(version="2.0.0"),)


def test_what_was_resolved_once_is_built_again() -> None:
    first = installed().replace(resolution=RESOLUTION)
    again = fold(REQUESTED, first, Evicted(generation=1, host="h"), REQUESTED)
    (enqueued,) = again.effects
    assert isinstance(enqueued, Enqueue)
    assert isinstance(enqueued.work, Build)
    assert enqueued.work.resolution == RESOLUTION
    gone = (REQUESTED, first, Evicted(generation=1, host="h"), REQUESTED)
    assert state(*gone, installed(2).replace(resolution=OTHER)).resolution == RESOLUTION
    assert state(*gone, failed(2)).resolution == RESOLUTION
    assert state(REQUESTED, failed(), REQUESTED).resolution == ()
    assert b"resolution" not in encode(state(REQUESTED, installed()))


# -- properties ------------------------------------------------------------------------------------

logs = st.lists(facts.of_dependencies, max_size=12)
lives = st.builds(lambda log: [REQUESTED, *log], logs)
timed = st.tuples(
    logs | lives | lives.map(lambda log: [fact for fact in log for _ in range(2)]), st.integers(1, 9_000)
)
"""A log and the milliseconds between its facts, so that failures expire within some."""


@settings(max_examples=100)
@given(timed)
def test_whatever_happens(log_and_step: tuple[list[DependenciesFact], int]) -> None:
    log, step_ms = log_and_step
    before: EnvironmentState | None = None
    enqueued = Counter[int]()
    results: dict[int, tuple[object, ...]] = {}
    for number, fact in enumerate(log):
        folded = apply(before, Recorded("id", fact, number * step_ms))
        enqueued.update(build.attempt for build in builds(folded.effects))
        assert_step(before, folded, fact)
        if after := folded.state:
            assert_bounded(after)
            assert enqueued == Counter(range(1, after.attempt + 1)), "each attempt once, none without"
            if after.final:
                result = (after.store_path, after.host, after.fault, after.explanation, after.finished_at)
                assert results.setdefault(after.generation, result) == result, "final once per generation"
        before = folded.state


def builds(effects: tuple[Effect, ...]) -> list[Build]:
    return [
        effect.work for effect in effects if isinstance(effect, Enqueue) and isinstance(effect.work, Build)
    ]


def assert_step(
    before: EnvironmentState | None, folded: Folded[EnvironmentState], fact: DependenciesFact
) -> None:
    after = folded.state
    if folded.refused:
        assert after == before, "a refused fact changes nothing"
        assert not isinstance(fact, Requested), "every request gets a visible answer"
        return
    assert after
    if isinstance(fact, Requested):
        assert (before is None) or after != before or before.requested_at_ms == after.requested_at_ms
    elif isinstance(fact, Evicted | Lost):
        assert before
        assert (before.status, before.generation) == ("installed", fact.generation)
        if isinstance(fact, Evicted):
            assert (before.host, before.published) == (fact.host, False)
        assert after.status == "gone"
    else:
        assert before
        assert not before.final
        assert before.attempt == fact.attempt
    if before:
        assert after.generation - before.generation in {0, 1}
        assert after.generation == before.generation or (before.final and isinstance(fact, Requested))
        assert after.attempt - before.attempt in {0, 1}
    for effect in folded.effects:
        if isinstance(effect, Stop):
            assert after.final or effect.attempt < after.attempt, "what is enqueued may run"


def assert_bounded(environment: EnvironmentState) -> None:
    assert environment.charged_attempts <= environment.allowed_attempts
    assert environment.host_faults <= environment.allowed_host_faults
    used_up = environment.charged_attempts == environment.allowed_attempts
    used_up |= environment.host_faults == environment.allowed_host_faults
    assert not used_up or environment.final
    assert (environment.finished_at is not None) == environment.final


@settings(max_examples=40)
@given(timed, st.integers(0, 12))
def test_a_restart_between_makes_no_difference(
    log_and_step: tuple[list[DependenciesFact], int], cut: int
) -> None:
    log, step_ms = log_and_step

    def bytes_of(parts: list[list[DependenciesFact]]) -> tuple[bytes, list[bytes]]:
        raw, queue, time_ms = b"", list[bytes](), 0
        for part in parts:
            environment = EnvironmentState.model_validate_json(raw) if raw else None
            for fact in part:
                environment, effects, _ = apply(environment, Recorded("id", fact, time_ms))
                queue += [encode(build) for build in builds(effects)]
                time_ms += step_ms
            raw = encode(environment) if environment else b""
        return raw, queue

    whole = bytes_of([log])
    assert whole == bytes_of([log]) == bytes_of([log[:cut], log[cut:]]) == bytes_of([[fact] for fact in log])
    assert all(encode(Build.model_validate_json(build)) == build for build in whole[1])


# -- examples --------------------------------------------------------------------------------------


def test_many_requests_are_one_build() -> None:
    log = (REQUESTED, REQUESTED, Started(attempt=1, builder="b"), REQUESTED, installed(), REQUESTED)
    assert [len(fold(*log[:n]).effects) for n in range(1, 7)] == [1, 0, 0, 0, 0, 0]
    assert (state(*log).status, state(*log).requested_at_ms) == ("installed", 5)


@pytest.mark.parametrize("gone", [Evicted(generation=1, host="h"), Lost(generation=1, host="h")])
def test_what_is_gone_is_built_again_for_the_next_request_only(gone: Evicted | Lost) -> None:
    log = REQUESTED, installed(), gone
    assert fold(*log).effects == ()
    again = fold(*log, REQUESTED)
    assert again.state
    assert (again.state.generation, again.state.attempt, again.state.status) == (2, 2, "queued")
    assert again.state.store_path is None
    assert len(again.effects) == 1
    assert fold(*log, REQUESTED, installed(2), gone).refused == "of another generation, or not installed"


def test_another_host_takes_nothing_away() -> None:
    assert fold(REQUESTED, installed(), Evicted(generation=1, host="other")).refused


def test_no_eviction_takes_away_what_every_host_can_fetch() -> None:
    log = REQUESTED, installed(published=True), Evicted(generation=1, host="h")
    assert fold(*log).refused == "they can be fetched from the binary cache"
    assert fold(*log, REQUESTED).effects == ()


@pytest.mark.parametrize("published", [False, True])
def test_any_host_that_cannot_have_them_has_them_built_again(published: bool) -> None:
    log = REQUESTED, installed(published=published), Lost(generation=1, host="other", reason="not signed")
    assert state(*log).status == "gone"
    assert len(fold(*log, REQUESTED).effects) == 1


def test_failures_expire_by_append_time() -> None:
    log = REQUESTED, failed(expires_s=10.0), REQUESTED
    assert fold(*log, seconds=9.999).effects == ()
    [enqueue] = fold(*log, seconds=10.0).effects
    assert isinstance(enqueue, Enqueue)
    assert state(*log).explanation == "no such package"


def test_a_result_of_an_earlier_generation_is_late() -> None:
    gone = Evicted(generation=1, host="h")
    assert fold(REQUESTED, installed(), gone, REQUESTED, installed(1)).refused == "of attempt 1, now at 2"


def test_attempts_are_bounded_and_the_last_one_runs_alone() -> None:
    log = REQUESTED, LeaseExpired(attempt=1, checker="c"), LeaseExpired(attempt=2, checker="c")
    [build] = builds(fold(*log).effects)
    assert build.alone
    given_up = state(*log, LeaseExpired(attempt=3, checker="c"))
    assert (given_up.status, given_up.fault) == ("failed", "ours")
    assert str(given_up.explanation).startswith("given up after 3 attempts")


def waits(attempt: int, *, waiting: bool = True) -> Started:
    return Started(attempt=attempt, builder="b", waiting=waiting)


def test_an_attempt_that_is_lost_while_it_waits_for_its_turn_is_not_charged() -> None:
    lost = LeaseExpired(attempt=1, checker="c")
    before = state(REQUESTED, waits(1))
    assert (before.status, before.builder, before.waiting) == ("started", "b", True)
    again = fold(REQUESTED, waits(1), lost)
    assert again.state
    assert (again.state.charged_attempts, again.state.host_faults) == (0, 1)
    assert not again.state.waiting
    assert state(REQUESTED, waits(1), waits(1, waiting=False), lost).charged_attempts == 1
    log = [fact for n in range(1, 11) for fact in (waits(n), lost.replace(attempt=n))]
    assert not any(build.alone for build in builds(fold(REQUESTED, *log[:18]).effects))
    assert (state(REQUESTED, *log).status, state(REQUESTED, *log).fault) == ("failed", "ours")


def test_what_waits_for_no_turn_has_the_bytes_of_earlier_versions() -> None:
    log = (REQUESTED, waits(1), waits(1, waiting=False))
    assert b"waiting" not in encode(log[-1])
    assert encode(state(*log)) == encode(state(REQUESTED, log[-1]))
    for end in (installed(), failed()):
        assert b"waiting" not in encode(state(REQUESTED, waits(1), end))


def test_hand_backs_are_not_charged_but_host_faults_are_bounded() -> None:
    stop = [HandedBack(attempt=n, builder="b", reason="stops") for n in range(1, 21)]
    assert (state(REQUESTED, *stop).status, state(REQUESTED, *stop).attempt) == ("queued", 21)
    faults = [HandedBack(attempt=n, builder="b", reason="disk full", host_fault=True) for n in range(1, 11)]
    assert state(REQUESTED, *faults[:9]).status == "queued"
    assert "disk full" in str(state(REQUESTED, *faults).explanation)


def test_who_allows_more_is_not_told_that_it_was_too_little_for_another() -> None:
    little = state(allowing(5), Started(attempt=1, builder="b"), too_small())
    assert (little.status, little.fault) == ("failed", "limit")
    assert not little.failed_below(DependenciesLimits(wall_time_s=5))
    again = fold(allowing(5), too_small(), allowing(9))
    assert again.state is not None
    assert (again.state.status, again.state.generation, again.state.attempt) == ("queued", 2, 2)
    (enqueued,) = again.effects
    assert isinstance(enqueued, Enqueue)
    assert isinstance(enqueued.work, Build)
    assert enqueued.work.limits.wall_time_s == 9
    assert state(allowing(5), too_small(), allowing(5)).status == "failed"
    assert state(allowing(5), too_small(), allowing(3)).status == "failed"
    assert state(allowing(5), failed(), allowing(9)).status == "failed"


def test_two_who_allow_more_of_different_things_come_to_an_end() -> None:
    slow, large = allowing(9, 64 << 20), allowing(5, 4 << 30)
    log: list[DependenciesFact] = [slow, too_small(), large, too_small(2)]
    tried = state(*log)
    assert (tried.status, tried.limits) == ("failed", allowing(9, 4 << 30).limits)
    assert [state(*log, asked).status for asked in (slow, large)] == ["failed", "failed"]


def test_a_build_has_the_owner_of_its_generations_first_request() -> None:
    first, second = (REQUESTED.replace(owner=owner) for owner in ("key/1", "key/2"))
    folded = fold(first)
    assert isinstance(folded.effects[0], Enqueue)
    assert isinstance(build := folded.effects[0].work, Build)
    assert build.owner == "key/1"
    assert state(first, second).owner == "key/1"
    assert state(first, installed(), Evicted(generation=1, host="h"), second).owner == "key/2"


def test_without_an_owner_the_bytes_are_those_of_earlier_versions() -> None:
    folded = fold(REQUESTED)
    assert folded.state
    assert isinstance(folded.effects[0], Enqueue)
    for model in (REQUESTED, folded.state, folded.effects[0].work):
        assert b"owner" not in encode(model)
