"""The fold of dependencies. Attempts are numbered across generations: an attempt implies its generation."""

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
from topics.dependencies.state import Build, EnvironmentState
from topics.fold import Enqueue, Folded, Recorded, Stop
from topics.request.limits import DependenciesLimits

AttemptFact = Started | Installed | Failed | HandedBack | LeaseExpired

_EXPIRES_AFTER_GIVING_UP_S = 10.0
"""Seconds before a request retries a build that was given up: short, as the dependencies did not cause it."""


def apply(state: EnvironmentState | None, recorded: Recorded[DependenciesFact]) -> Folded[EnvironmentState]:
    """Return the state after a fact, and the effects of the fact."""
    match recorded.fact:
        case Requested() as fact:
            return _requested(state, fact, recorded)
        case Evicted() | Lost() as fact:
            return _gone(state, fact)
        case fact:
            return _of_attempt(state, fact, recorded)


def _requested(
    state: EnvironmentState | None, fact: Requested, recorded: Recorded[DependenciesFact]
) -> Folded[EnvironmentState]:
    if state is None:
        return _queued(_generation(fact, recorded, generation=1, attempt=1))
    if starts_build(state, fact.limits, recorded.time_ms):
        if state.fault == "limit":
            # Take the larger of each limit: requests that raise different limits would alternate for ever.
            fact = fact.replace(limits=state.limits.joined(fact.limits))
        next_one = _generation(fact, recorded, generation=state.generation + 1, attempt=state.attempt + 1)
        answered_until_ms = _answered_until_ms(state, recorded)
        return _queued(next_one.replace(requested_at_ms=answered_until_ms, resolution=state.resolution))
    # Every request changes the state, so that its sender sees that the present state answers it.
    return Folded(state.replace(requested_at_ms=_answered_until_ms(state, recorded)))


def _answered_until_ms(state: EnvironmentState, recorded: Recorded[DependenciesFact]) -> int:
    # The broker's clock may be set back; requests from before that must still count as answered.
    return max(state.requested_at_ms, recorded.time_ms)


def starts_build(state: EnvironmentState | None, limits: DependenciesLimits, time_ms: int) -> bool:
    """Return whether a request at this time, with these limits, starts a build.

    Otherwise the present state answers it, or the end of the build that is queued or runs.
    """
    if state is None or state.status == "gone" or state.failed_below(limits):
        return True
    return state.expires_at_ms is not None and time_ms >= state.expires_at_ms


def _generation(
    fact: Requested, recorded: Recorded[DependenciesFact], *, generation: int, attempt: int
) -> EnvironmentState:
    return EnvironmentState(
        id=recorded.id,
        generation=generation,
        status="queued",
        attempt=attempt,
        allowed_attempts=fact.allowed_attempts,
        allowed_host_faults=fact.allowed_host_faults,
        requested_at_ms=recorded.time_ms,
        created_at=recorded.time,
        dependencies=fact.dependencies,
        package_set=fact.package_set,
        system=fact.system,
        limits=fact.limits,
        owner=fact.owner,
    )


def _gone(state: EnvironmentState | None, fact: Evicted | Lost) -> Folded[EnvironmentState]:
    if state is None:
        return Folded(None, refused="no such dependencies")
    if (state.generation, state.status) != (fact.generation, "installed"):
        return Folded(state, refused="of another generation, or not installed")
    if isinstance(fact, Evicted):
        if state.published:
            return Folded(state, refused="they can be fetched from the binary cache")
        if state.host != fact.host:
            return Folded(state, refused="of another host")
    return Folded(state.replace(status="gone"))


def _of_attempt(
    state: EnvironmentState | None, fact: AttemptFact, recorded: Recorded[DependenciesFact]
) -> Folded[EnvironmentState]:
    if state is None:
        return Folded(None, refused="no such dependencies")
    if state.final:
        return Folded(state, refused=f"late: already {state.status}")
    if fact.attempt != state.attempt:
        return Folded(state, refused=f"of attempt {fact.attempt}, now at {state.attempt}")
    match fact:
        case Started(builder=builder, waiting=waiting):
            return Folded(state.replace(status="started", builder=builder, waiting=waiting))
        case Installed():
            return Folded(_installed(state, fact, recorded))
        case Failed():
            return Folded(_failed(state, fact, recorded))
        case HandedBack() | LeaseExpired():
            return _attempt_ended(state, fact, recorded)


def _installed(
    state: EnvironmentState, fact: Installed, recorded: Recorded[DependenciesFact]
) -> EnvironmentState:
    return state.replace(
        status="installed",
        waiting=False,
        finished_at=recorded.time,
        builder=fact.builder,
        host=fact.host,
        published=fact.published,
        store_path=fact.store_path,
        variables=fact.variables,
        packages=fact.packages,
        resolution=state.resolution or fact.resolution,
        size_bytes=fact.size_bytes,
        wall_time_s=fact.wall_time_s,
    )


def _failed(state: EnvironmentState, fact: Failed, recorded: Recorded[DependenciesFact]) -> EnvironmentState:
    return state.replace(
        status="failed",
        waiting=False,
        finished_at=recorded.time,
        expires_at_ms=recorded.time_ms + round(fact.expires_s * 1000),
        builder=fact.builder,
        fault=fact.fault,
        explanation=fact.explanation,
        log=fact.log,
        wall_time_s=fact.wall_time_s,
    )


def _attempt_ended(
    state: EnvironmentState, fact: HandedBack | LeaseExpired, recorded: Recorded[DependenciesFact]
) -> Folded[EnvironmentState]:
    """Start the next attempt, or fail the build if no more attempts are allowed (rule 5)."""
    if isinstance(fact, HandedBack):
        reason, charged, host_fault = fact.reason, False, fact.host_fault
    else:
        reason, charged = "its builder was not heard of any more", not state.waiting
        host_fault = not charged
    state = state.replace(
        charged_attempts=state.charged_attempts + charged, host_faults=state.host_faults + host_fault
    )
    stop = Stop(state.id, state.attempt)
    if state.charged_attempts >= state.allowed_attempts or state.host_faults >= state.allowed_host_faults:
        given_up = Failed(
            attempt=state.attempt,
            builder=state.builder or "",
            fault="ours",
            explanation=f"given up after {state.attempt} attempts, the last one because: {reason}",
            log="",
            wall_time_s=0.0,
            expires_s=_EXPIRES_AFTER_GIVING_UP_S,
        )
        return Folded(_failed(state, given_up, recorded), (stop,))
    again = _queued(state.replace(status="queued", attempt=state.attempt + 1, builder=None, waiting=False))
    return again._replace(effects=(stop, *again.effects))


def _queued(state: EnvironmentState) -> Folded[EnvironmentState]:
    return Folded(state, (enqueue(state),))


def enqueue(state: EnvironmentState) -> Enqueue:
    """Return the effect that enqueues the current attempt of an unfinished build."""
    build = Build(
        id=state.id,
        generation=state.generation,
        attempt=state.attempt,
        dependencies=state.dependencies,
        package_set=state.package_set,
        system=state.system,
        limits=state.limits,
        resolution=state.resolution,
        owner=state.owner,
        alone=0 < state.charged_attempts == state.allowed_attempts - 1,
    )
    return Enqueue(state.id, build)
