"""What must hold of submissions whatever happens, in whatever order, however often (rules 1, 3 and 5)."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.submissions import finished
from tests.unit.topics import facts
from topics.fold import Effect, Enqueue, Folded, Recorded, SendDeadLetter, SendReply, SendWebhook, Stop
from topics.kafka.codec import encode
from topics.request.cases import TestCase
from topics.request.errors import FieldError
from topics.request.limits import MiB
from topics.request.model import SubmissionRequest
from topics.request.parsing import parse_request
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
from topics.submissions.fold import apply
from topics.submissions.stage import CompileStage, DependenciesStage, Outcome, RunStage
from topics.submissions.state import FINAL, Answer, Status, Submission, Work
from topics.submissions.webhook import Ended, EndedData, Webhook, make_webhook

REQUEST, HASH = parse_request(b'{"run": "true"}', MiB)
STAGE = CompileStage(exit_code=0)


def requested(content_hash: str = HASH, **changes: object) -> Requested:
    plain = Requested(request=REQUEST, content_hash=content_hash, dependencies_id="d", package_set="p")
    return plain.replace(**changes)


def expired(attempt: int) -> LeaseExpired:
    return LeaseExpired(attempt=attempt, checker="c")


def ran(attempt: int) -> DependenciesInstalled:
    return DependenciesInstalled(
        attempt=attempt, worker="w", dependencies=DependenciesStage(id="d", cached=True)
    )


def fold(*log: SubmissionFact) -> Folded[Submission]:
    """The last fact's effects, on the state that all of them made."""
    folded: Folded[Submission] = Folded(None)
    for time_ms, fact in enumerate(log):
        folded = apply(folded.state, Recorded("id", fact, time_ms))
    return folded


def state(*log: SubmissionFact) -> Submission:
    submission = fold(*log).state
    assert submission
    return submission


# -- properties ------------------------------------------------------------------------------------

logs = st.lists(facts.of_submissions, max_size=12)
lives = st.builds(lambda first, log: [first, *log], facts.requested, logs)
"""Logs of which the most are of submissions that exist."""


@st.composite
def replayed(draw: st.DrawFn) -> list[SubmissionFact]:
    """A log of which parts come again, as from producers that never give up."""
    log = draw(lives)
    again = draw(st.lists(st.sampled_from(log), max_size=6))
    return [*log, *again] if draw(st.booleans()) else [fact for fact in log for _ in range(2)]


@settings(max_examples=100)
@given(logs | lives | replayed())
def test_whatever_happens(log: list[SubmissionFact]) -> None:
    before: Submission | None = None
    enqueued = Counter[int]()
    for time_ms, fact in enumerate(log):
        folded = apply(before, Recorded("id", fact, time_ms))
        assert_last_word(before, folded)
        assert_named_attempt(before, folded, fact)
        assert_effects(folded, fact)
        enqueued.update(work.attempt for work in works(folded.effects))
        if folded.state:
            assert_bounded(folded.state)
            never_accepted = folded.state.status == "rejected"
            expected = 0 if never_accepted else folded.state.attempt
            assert enqueued == Counter(range(1, expected + 1)), "each attempt once, none without"
        before = folded.state


def works(effects: tuple[Effect, ...]) -> list[Work]:
    return [
        effect.work for effect in effects if isinstance(effect, Enqueue) and isinstance(effect.work, Work)
    ]


def assert_last_word(before: Submission | None, folded: Folded[Submission]) -> None:
    if before and before.status in {"finished", "cancelled"}:
        assert folded.state == before
        assert folded.refused
    if folded.refused:
        assert folded.state == before, "a refused fact changes nothing"
    if before:
        assert folded.state, "what exists never goes"
        assert folded.state.attempt >= before.attempt


def assert_named_attempt(before: Submission | None, folded: Folded[Submission], fact: SubmissionFact) -> None:
    if isinstance(fact, Requested | Cancelled | Rejected) or folded.refused:
        return
    assert before
    assert before.attempt == fact.attempt
    if isinstance(fact, Finished):
        assert folded.state
        assert (folded.state.status, folded.state.outcome, folded.state.run, folded.state.worker) == (
            "finished",
            fact.outcome,
            fact.run,
            fact.worker,
        )


def assert_effects(folded: Folded[Submission], fact: SubmissionFact) -> None:
    for effect in folded.effects:
        match effect:
            case Enqueue(id=id, work=Work() as work):
                assert folded.state
                assert (id, folded.state.status, work.attempt) == ("id", "queued", folded.state.attempt)
                assert work.request == folded.state.request
                last = folded.state.charged_attempts == folded.state.allowed_attempts - 1
                assert work.alone == (last and folded.state.charged_attempts > 0)
            case Stop(attempt=attempt):
                assert folded.state
                assert attempt <= folded.state.attempt
                assert folded.state.final or attempt < folded.state.attempt, "what is enqueued may run"
            case SendDeadLetter():
                assert isinstance(fact, Requested)
                assert fact.source == "kafka"
                assert folded.refused
            case SendReply(topic=topic, id=id, answer=answer):
                assert id == "id"
                told = Answer.model_validate_json(answer)
                if folded.refused:
                    assert isinstance(fact, Requested | Rejected)
                    assert topic == fact.reply_topic
                else:
                    assert folded.state
                    assert (topic, answer) == (folded.state.reply_topic, folded.state.answer())
                assert told.status in FINAL
            case SendWebhook(id=id, ended=Submission() as ended):
                webhook = make_webhook(ended)
                assert webhook
                assert folded.refused is None, "an end is told when it comes"
                assert folded.state
                assert folded.state.request
                assert (id, webhook.url) == ("id", folded.state.request.callback_url)
                assert webhook.body.data.status == folded.state.status
                assert webhook.body.data.status in FINAL


def assert_bounded(submission: Submission) -> None:
    assert submission.charged_attempts <= submission.allowed_attempts
    assert submission.host_faults <= submission.allowed_host_faults
    used_up = submission.charged_attempts == submission.allowed_attempts
    used_up |= submission.host_faults == submission.allowed_host_faults
    assert not used_up or submission.final
    assert (submission.finished_at is not None) == submission.final
    assert (submission.outcome is not None) == (submission.status == "finished")


@settings(max_examples=40)
@given(lives, st.integers(0, 12))
def test_a_restart_between_makes_no_difference(log: list[SubmissionFact], cut: int) -> None:
    """Folded again, and in two halves with the store topic between: the same bytes, the same effects."""

    def bytes_of(parts: list[list[SubmissionFact]]) -> tuple[bytes, list[bytes]]:
        raw, queue, time_ms = b"", list[bytes](), 0
        for part in parts:
            submission = Submission.model_validate_json(raw) if raw else None
            for fact in part:
                submission, effects, _ = apply(submission, Recorded("id", fact, time_ms))
                queue += [encode(work) for work in works(effects)]
                time_ms += 1
            raw = encode(submission) if submission else b""
        return raw, queue

    whole = bytes_of([log])
    assert whole == bytes_of([log]) == bytes_of([log[:cut], log[cut:]]) == bytes_of([[fact] for fact in log])
    assert all(encode(Work.model_validate_json(work)) == work for work in whole[1])


# -- examples --------------------------------------------------------------------------------------


def test_the_ordinary_way() -> None:
    log = (requested(), Started(attempt=1, worker="w"), finished())
    assert [state(*log[:n]).status for n in (1, 2, 3)] == ["queued", "started", "finished"]
    assert json.loads(state(*log).answer()) == {
        "id": "id",
        "status": "finished",
        "attempt": 1,
        "created_at": "1970-01-01T00:00:00.000Z",
        "finished_at": "1970-01-01T00:00:00.002Z",
        "outcome": "ok",
        "dependencies": None,
        "compile": None,
        "run": [],
        "error": None,
        "errors": [],
    }


def test_the_first_finished_of_the_current_attempt_wins() -> None:
    log = requested(), expired(1)
    assert fold(*log, finished(attempt=1)).refused == "of attempt 1, now at 2"
    assert state(*log, finished(attempt=2, worker="v"), finished(attempt=2, worker="w")).worker == "v"


def test_the_score_is_the_sum_of_those_of_the_cases() -> None:
    runs = (RunStage(score=0.1), RunStage(score=0.2), RunStage())
    scored = state(requested(), finished(*runs))
    assert scored.score == 0.3
    assert json.loads(scored.answer())["score"] == 0.3
    unscored = state(requested(), finished(RunStage()))
    assert unscored.score is None
    assert b"score" not in encode(unscored)


def test_work_names_the_memory_of_each_stage_that_may_run() -> None:
    def limits(request: dict[str, object]) -> dict[str, int]:
        accepted, _ = parse_request(json.dumps({"run": "true"} | request).encode(), MiB)
        work = Work(id="i", attempt=1, request=accepted, dependencies_id="d", package_set="p")
        assert work.memory_bytes == max(work.memory_limits.values())
        return {name: memory_bytes // MiB for name, memory_bytes in work.memory_limits.items()}

    run = {"limits.run.memory_bytes": 256}
    assert limits({}) == run
    assert limits({"compile": "true"}) == {"limits.compile.memory_bytes": 1024} | run
    assert limits({"comparison": {"mode": "tokens"}}) == run
    checker = {"mode": "checker", "run": "true", "limits": {"memory_bytes": 700 * MiB}}
    assert limits({"comparison": checker}) == run | {"comparison.limits.memory_bytes": 700}
    assert limits({"comparison": checker | {"compile": "true"}}) == run | {
        "comparison.compile_limits.memory_bytes": 1024,
        "comparison.limits.memory_bytes": 700,
    }


def test_the_slower_of_two_workers_takes_no_status_back() -> None:
    compiled = Compiled(attempt=1, worker="v", compile=STAGE)
    assert state(requested(), compiled, Started(attempt=1, worker="w")).status == "compiled"


def test_the_same_request_again_changes_nothing_and_another_one_conflicts() -> None:
    assert fold(requested(), requested()).refused == "the same request again"
    assert (
        fold(requested(), requested("other")).refused == "conflict: the id was used before with other content"
    )
    assert fold(requested(), requested(owner="somebody else")).refused
    assert fold(requested(), requested("other")).effects == ()
    [letter] = fold(requested(), requested("other", source="kafka")).effects
    assert isinstance(letter, SendDeadLetter)


def test_a_new_attempt_forgets_what_the_old_one_did() -> None:
    compiled = Compiled(attempt=1, worker="w", compile=STAGE)
    again = fold(requested(), Started(attempt=1, worker="w"), compiled, expired(1))
    assert again.state
    assert (again.state.status, again.state.compile, again.state.worker) == ("queued", None, None)
    assert [ended.worker for ended in again.state.ended_attempts] == ["w"]
    assert [type(effect) for effect in again.effects] == [Stop, Enqueue]


def test_attempts_are_bounded_and_the_last_one_runs_alone() -> None:
    log = requested(), ran(1), expired(1), ran(2), expired(2), ran(3)
    [_, enqueue] = fold(*log[:-1]).effects
    assert isinstance(enqueue, Enqueue)
    assert isinstance(enqueue.work, Work)
    assert enqueue.work.alone
    given_up = state(*log, expired(3))
    assert (given_up.status, given_up.outcome) == ("finished", "internal_error")
    assert str(given_up.error).count("not heard of") == 3
    assert fold(*log, expired(3)).effects == (Stop("id", 3),)


def test_who_did_not_run_when_its_worker_died_is_not_charged_but_bounded() -> None:
    lost = [fact for n in range(1, 11) for fact in (Started(attempt=n, worker="w"), expired(n))]
    assert [ended.charged for ended in state(requested(), *lost).ended_attempts] == [False] * 10
    assert state(requested(), *lost[:-1]).status == "started"
    assert state(requested(), *lost).outcome == "internal_error"


def test_one_allowed_attempt_is_not_run_alone() -> None:
    """Alone says who is to blame for an expired lease before; the first attempt has none."""
    [enqueue] = fold(requested(allowed_attempts=1)).effects
    assert isinstance(enqueue, Enqueue)
    assert isinstance(enqueue.work, Work)
    assert not enqueue.work.alone


def test_hand_backs_are_not_charged_but_host_faults_are_bounded() -> None:
    stop = [HandedBack(attempt=n, worker="w", reason="stops") for n in range(1, 21)]
    assert (state(requested(), *stop).status, state(requested(), *stop).attempt) == ("queued", 21)
    faults = [HandedBack(attempt=n, worker="w", reason="disk full", host_fault=True) for n in range(1, 11)]
    assert state(requested(), *faults[:9]).status == "queued"
    assert state(requested(), *faults).outcome == "internal_error"
    assert "disk full" in str(state(requested(), *faults).error)


def test_cancelling() -> None:
    assert fold(Cancelled()).refused == "no such submission"
    assert fold(requested(), expired(1), Cancelled()).effects == (Stop("id", 2),)
    assert state(requested(), Cancelled()).status == "cancelled"
    assert fold(requested(), finished(), Cancelled()).refused == "too late: already finished"
    assert state(requested(), Cancelled(), finished()).status == "cancelled"


def test_a_rejected_id_may_be_used_again_and_rejections_change_nothing_else() -> None:
    rejected = Rejected(errors=(FieldError(field="run", message="is missing"),))
    assert state(rejected).status == "rejected"
    assert state(rejected, requested()).status == "queued"
    assert state(rejected, requested()).errors == ()
    assert fold(requested(), rejected).refused


def test_a_request_keeps_its_meaning_on_the_queue() -> None:
    request: SubmissionRequest = REQUEST.replace(run=("a", ""))
    [enqueue] = fold(requested(request=request)).effects
    assert isinstance(enqueue, Enqueue)
    again = Work.model_validate_json(encode(enqueue.work))
    assert again == enqueue.work
    assert again.request.run == ("a", "")


ASKED = requested(source="kafka", reply_topic="replies.a")
REJECTED = Rejected(errors=(FieldError(field="run", message="is missing"),), reply_topic="replies.a")


def told(*log: SubmissionFact) -> list[tuple[str, str, str]]:
    """Topic, status and outcome or reason of what the last fact makes us tell."""
    replies = [effect for effect in fold(*log).effects if isinstance(effect, SendReply)]
    answers = [(reply.topic, Answer.model_validate_json(reply.answer)) for reply in replies]
    return [
        (topic, answer.status, answer.outcome or (answer.errors[0].message if answer.errors else ""))
        for topic, answer in answers
    ]


@pytest.mark.parametrize(
    ("log", "tells"),
    [
        ([ASKED], []),
        ([ASKED, finished()], [("replies.a", "finished", "ok")]),
        ([ASKED, finished(), finished(worker="v")], []),
        ([requested(), finished()], []),
        ([ASKED, Cancelled()], [("replies.a", "cancelled", "")]),
        (
            [ASKED.replace(allowed_attempts=1), ran(1), expired(1)],
            [("replies.a", "finished", "internal_error")],
        ),
        ([REJECTED], [("replies.a", "rejected", "is missing")]),
        ([requested(), REJECTED], [("replies.a", "rejected", "is missing")]),
        ([REJECTED, ASKED, finished()], [("replies.a", "finished", "ok")]),
    ],
)
def test_whoever_named_a_topic_is_told_the_end(
    log: list[SubmissionFact], tells: list[tuple[str, str, str]]
) -> None:
    assert told(*log) == tells


def test_whoever_asks_again_is_told_as_well() -> None:
    elsewhere = ASKED.replace(reply_topic="replies.b")
    assert told(ASKED, ASKED) == []
    assert told(ASKED, finished(), ASKED) == [("replies.a", "finished", "ok")]
    assert told(ASKED, finished(), elsewhere) == [("replies.b", "finished", "ok")]
    [(topic, status, reason)] = told(ASKED, elsewhere)
    assert (topic, status) == ("replies.b", "rejected")
    assert reason.endswith("with another reply topic")
    [(topic, status, reason)] = told(requested(), ASKED.replace(content_hash="other"))
    assert (topic, status) == ("replies.a", "rejected")
    assert reason.endswith("with other content")


URL = "https://hooks.example.org/a"
WITH_CALLBACK = requested(request=REQUEST.replace(callback_url=URL, tags=("course=42",)))


@pytest.mark.parametrize(
    ("end", "status", "outcome"),
    [
        ([finished()], "finished", "ok"),
        ([finished().replace(outcome="dependencies_failed")], "finished", "dependencies_failed"),
        ([Cancelled()], "cancelled", None),
        ([ran(1), expired(1)], "finished", "internal_error"),
    ],
)
def test_each_end_is_told_over_http_once(
    end: list[SubmissionFact], status: Status, outcome: Outcome | None
) -> None:
    asked = WITH_CALLBACK.replace(allowed_attempts=1)
    [*_, notify] = fold(asked, *end).effects
    data = EndedData(
        id="id",
        status=status,
        outcome=outcome,
        attempt=1,
        created_at="1970-01-01T00:00:00.000Z",
        finished_at=f"1970-01-01T00:00:00.00{len(end)}Z",
        tags=("course=42",),
        path="/submissions/id",
    )
    body = Ended(timestamp=data.finished_at, data=data)
    assert notify == SendWebhook("id", state(asked, *end)), "the body is made when it is sent"
    assert make_webhook(state(asked, *end)) == Webhook(url=URL, body=body)
    for again in (asked, *end):
        assert not fold(asked, *end, again).effects


def test_nobody_is_told_over_http_who_did_not_ask() -> None:
    assert fold(requested(), finished()).effects == ()
    assert not any(isinstance(effect, SendWebhook) for effect in fold(REJECTED).effects)


@pytest.mark.parametrize(
    "end", [[finished(outcome="compile_failed")], [ran(1), expired(1)]], ids=["not_compiled", "given_up"]
)
@pytest.mark.parametrize(("case", "score"), [(TestCase(points=2), 0.0), (TestCase(), None)])
def test_a_submission_of_which_no_case_ran_scores_nothing(
    end: list[SubmissionFact], case: TestCase, score: float | None
) -> None:
    asked = requested(request=REQUEST.replace(test_cases=(case,)), allowed_attempts=1)
    assert state(asked).score is None
    assert state(asked, *end).score == score
    assert state(asked, Cancelled()).score is None
    assert state(asked, finished(RunStage(score=1.5))).score == 1.5
