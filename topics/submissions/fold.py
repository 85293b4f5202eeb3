"""The fold of submissions, which decides their ends (rule 3).

The first end counts: Finished of the current attempt, Cancelled, or giving up. Later facts are refused.
"""

from topics.fold import Effect, Enqueue, Folded, Owed, Recorded, SendDeadLetter, SendReply, SendWebhook, Stop
from topics.request.errors import FieldError
from topics.submissions.facts import (
    Cancelled,
    Compiled,
    DependenciesInstalled,
    Finished,
    HandedBack,
    LeaseExpired,
    Rejected,
    Requested,
    Started,
    SubmissionFact,
)
from topics.submissions.stage import RunStage, total_score
from topics.submissions.state import EndedAttempt, Status, Submission, Work

AttemptFact = Started | DependenciesInstalled | Compiled | Finished | HandedBack | LeaseExpired

_PROGRESS: tuple[Status, ...] = ("queued", "started", "dependencies_installed", "compiled")
_RUNNING: frozenset[Status] = frozenset({"dependencies_installed", "compiled"})
"""Statuses in which the program may have run. Before, it cannot be the reason why its worker ended."""


def apply(state: Submission | None, recorded: Recorded[SubmissionFact]) -> Folded[Submission]:
    """Return the state after a fact, and the effects of the fact."""
    folded = _apply(state, recorded)
    if folded.refused is None and folded.state and folded.state.final:
        responses = _reply(folded.state.reply_topic, folded.state) + _notify(folded.state)
        return folded._replace(effects=folded.effects + responses)
    return folded


def _apply(state: Submission | None, recorded: Recorded[SubmissionFact]) -> Folded[Submission]:
    match recorded.fact:
        case Requested() as fact:
            return _requested(state, fact, recorded)
        case Rejected() as fact:
            return _rejected(state, fact, recorded)
        case Cancelled():
            return _cancelled(state, recorded)
        case fact:
            return _of_attempt(state, fact, recorded)


def _requested(
    state: Submission | None, fact: Requested, recorded: Recorded[SubmissionFact]
) -> Folded[Submission]:
    # A rejected id was never accepted: a client may correct its request and send it again.
    if state and state.status != "rejected":
        return _again(state, fact, recorded)
    new = Submission(
        id=recorded.id,
        status="queued",
        created_at=recorded.time,
        allowed_attempts=fact.allowed_attempts,
        allowed_host_faults=fact.allowed_host_faults,
        owner=fact.owner,
        source=fact.source,
        reply_topic=fact.reply_topic,
        content_hash=fact.content_hash,
        dependencies_id=fact.dependencies_id,
        package_set=fact.package_set,
        request=fact.request,
        owed=fact.dispatch,
        interactive=fact.interactive,
    )
    return Folded(new, () if new.owed else (enqueue(new),))


def _again(state: Submission, fact: Requested, recorded: Recorded[SubmissionFact]) -> Folded[Submission]:
    """Refuse a request whose id is in use; a reply topic that it names may still get an answer."""
    same = (state.content_hash, state.owner) == (fact.content_hash, fact.owner)
    if same and state.final:
        return Folded(state, _reply(fact.reply_topic, state), refused="the same request again")
    if same and fact.reply_topic in {None, state.reply_topic}:
        return Folded(state, refused="the same request again")
    reason = f"conflict: the id was used before with {'another reply topic' if same else 'other content'}"
    if fact.source == "http":
        return Folded(state, refused=reason)
    rejection = _rejection(recorded, (FieldError(field="id", message=reason),))
    return Folded(state, (SendDeadLetter(reason), *_reply(fact.reply_topic, rejection)), refused=reason)


def _rejected(
    state: Submission | None, fact: Rejected, recorded: Recorded[SubmissionFact]
) -> Folded[Submission]:
    rejection = _rejection(recorded, fact.errors).replace(reply_topic=fact.reply_topic)
    if state:
        reason = "a rejection never changes a submission that exists"
        return Folded(state, _reply(fact.reply_topic, rejection), refused=reason)
    return Folded(rejection)


def _rejection(recorded: Recorded[SubmissionFact], errors: tuple[FieldError, ...]) -> Submission:
    return Submission(
        id=recorded.id,
        status="rejected",
        created_at=recorded.time,
        finished_at=recorded.time,
        source="kafka",
        errors=errors,
    )


def _reply(topic: str | None, answered: Submission) -> tuple[Effect, ...]:
    return (SendReply(topic, answered.id, answered.answer()),) if topic else ()


def _notify(state: Submission) -> tuple[Effect, ...]:
    is_wanted = state.request is not None and state.request.callback_url is not None
    return (SendWebhook(state.id, state),) if is_wanted else ()


def _cancelled(state: Submission | None, recorded: Recorded[SubmissionFact]) -> Folded[Submission]:
    if state is None:
        return Folded(None, refused="no such submission")
    if state.final:
        return Folded(state, refused=f"too late: already {state.status}")
    return Folded(_ended(state, recorded, status="cancelled"), (Stop(state.id, state.attempt),))


def _of_attempt(
    state: Submission | None, fact: AttemptFact, recorded: Recorded[SubmissionFact]
) -> Folded[Submission]:
    if state is None:
        return Folded(None, refused="no such submission")
    if state.final:
        return Folded(state, refused=f"late: already {state.status}")
    if fact.attempt != state.attempt:
        return Folded(state, refused=f"of attempt {fact.attempt}, now at {state.attempt}")
    match fact:
        case Started(worker=worker):
            return Folded(_progressed(state, "started", worker=worker))
        case DependenciesInstalled(dependencies=dependencies):
            return Folded(_progressed(state, "dependencies_installed", dependencies=dependencies))
        case Compiled(compile=stage):
            return Folded(_progressed(state, "compiled", compile=stage))
        case Finished():
            return Folded(_finished(state, fact, recorded))
        case HandedBack() | LeaseExpired():
            return _attempt_ended(state, fact, recorded)


def _progressed(state: Submission, status: Status, **changes: object) -> Submission:
    # Two workers may run one attempt: facts of the slower one never move the status backwards.
    further = max(state.status, status, key=_PROGRESS.index)
    return state.replace(status=further, owed=None, **changes)


def _finished(state: Submission, fact: Finished, recorded: Recorded[SubmissionFact]) -> Submission:
    return _ended(
        state,
        recorded,
        status="finished",
        worker=fact.worker,
        outcome=fact.outcome,
        dependencies=fact.dependencies,
        compile=fact.compile,
        run=fact.run,
        score=_score(state, fact.run),
        error=fact.error,
    )


def _score(state: Submission, run: tuple[RunStage, ...]) -> float | None:
    """Return the score of a finished submission: 0 if no case ran, but one has points."""
    cases = state.request.test_cases if state.request else ()
    return 0.0 if not run and any(case.points is not None for case in cases) else total_score(run)


def _attempt_ended(
    state: Submission, fact: HandedBack | LeaseExpired, recorded: Recorded[SubmissionFact]
) -> Folded[Submission]:
    """Start the next attempt, or end the submission if no more attempts are allowed (rule 5)."""
    match fact:
        case LeaseExpired():
            reason, charged = "its worker was not heard of any more", state.status in _RUNNING
            host_fault = not charged
        case HandedBack():
            reason, charged, host_fault = fact.reason, False, fact.host_fault
    ended = EndedAttempt(attempt=state.attempt, reason=reason, charged=charged, worker=state.worker)
    state = state.replace(
        ended_attempts=(*state.ended_attempts, ended), host_faults=state.host_faults + host_fault
    )
    stop = Stop(state.id, state.attempt)
    if state.charged_attempts >= state.allowed_attempts or state.host_faults >= state.allowed_host_faults:
        return Folded(_given_up(state, recorded), (stop,))
    state = _reset(state).replace(status="queued", attempt=state.attempt + 1, owed=None)
    return Folded(state, (stop, enqueue(state)))


def _given_up(state: Submission, recorded: Recorded[SubmissionFact]) -> Submission:
    reasons = "; ".join(f"attempt {ended.attempt}: {ended.reason}" for ended in state.ended_attempts)
    return _ended(
        _reset(state),
        recorded,
        status="finished",
        outcome="internal_error",
        score=_score(state, ()),
        error=f"given up: {reasons}",
    )


def _reset(state: Submission) -> Submission:
    return state.replace(dependencies=None, compile=None, run=(), worker=None)


def _ended(state: Submission, recorded: Recorded[SubmissionFact], **changes: object) -> Submission:
    return state.replace(finished_at=recorded.time, owed=None, **changes)


def owed(state: Submission) -> Owed | None:
    """Return the dispatch of the current attempt if no event shows that a worker has it; else None."""
    if state.owed is None:
        return None
    owner = "kafka" if state.source == "kafka" else f"http/{state.owner or ''}"
    return Owed(state.owed, owner, state.interactive, state.created_at)


def enqueue(state: Submission) -> Enqueue:
    """Return the effect that enqueues the current attempt of an unfinished submission."""
    assert state.request is not None
    work = Work(
        id=state.id,
        attempt=state.attempt,
        request=state.request,
        dependencies_id=state.dependencies_id,
        package_set=state.package_set,
        owner=state.owner,
        alone=0 < state.charged_attempts == state.allowed_attempts - 1,
    )
    return Enqueue(state.id, work)
