"""Submissions' log as it grows: any fact at any time, late, again, or of attempts that are over or to come.

The machine plays everybody who may append; beside it stand a store that restarts at times, and the folds of
the whole log. What `test_submissions_fold.py` says of single logs must hold at every step of a long one.
"""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.topics import facts
from topics.fold import Enqueue, Recorded, Stop
from topics.kafka.codec import encode
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
from topics.submissions.stage import CompileStage, DependenciesStage
from topics.submissions.state import Submission, Work

ID = "id"
behind = st.integers(-1, 3)
"""How many attempts ago: mostly the current one or one before, at times one that nobody was given yet."""


class SubmissionMachine(RuleBasedStateMachine):
    """One submission."""

    @initialize(fact=facts.requested)
    def request(self, fact: Requested) -> None:
        self.log: list[Recorded[SubmissionFact]] = []
        self.raw = b""
        self.enqueued: Counter[int] = Counter()
        self.queue: list[bytes] = []
        self.final: bytes | None = None
        self.time_ms = 1_000_000
        self.append(fact)

    # -- everybody who may append --------------------------------------------------------------------

    def append(self, fact: SubmissionFact) -> None:
        self.fold(Recorded(ID, fact, self.time_ms))

    def fold(self, recorded: Recorded[SubmissionFact]) -> None:
        """By a store that has only the row of its topic."""
        self.log.append(recorded)
        before = Submission.model_validate_json(self.raw) if self.raw else None
        folded = apply(before, recorded)
        if folded.state is None:
            return
        if folded.refused is None:
            self.raw = encode(folded.state)
            if isinstance(recorded.fact, Finished):
                assert before
                assert before.attempt == recorded.fact.attempt == folded.state.attempt
        for effect in folded.effects:
            if isinstance(effect, Enqueue):
                assert isinstance(effect.work, Work)
                assert (effect.work.attempt, folded.state.status) == (folded.state.attempt, "queued")
                self.enqueued[effect.work.attempt] += 1
                self.queue.append(encode(effect.work))
            elif isinstance(effect, Stop):
                assert folded.state.final or effect.attempt < folded.state.attempt
        if self.final is None and folded.state.status in {"finished", "cancelled"}:
            self.final = self.raw

    @property
    def state(self) -> Submission:
        return Submission.model_validate_json(self.raw)

    @rule(fact=facts.requested, same=st.booleans())
    def request_again(self, fact: Requested, same: bool) -> None:
        first = self.log[0].fact
        self.append(first if same else fact)

    @rule(worker=facts.workers, behind=behind)
    def start(self, worker: str, behind: int) -> None:
        self.append(Started(attempt=self.state.attempt - behind, worker=worker))

    @rule(worker=facts.workers, behind=behind, stage=facts.dependencies_stages)
    def install(self, worker: str, behind: int, stage: DependenciesStage) -> None:
        attempt = self.state.attempt - behind
        self.append(DependenciesInstalled(attempt=attempt, worker=worker, dependencies=stage))

    @rule(worker=facts.workers, behind=behind, stage=facts.stages)
    def compile(self, worker: str, behind: int, stage: CompileStage) -> None:
        attempt = self.state.attempt - behind
        self.append(Compiled(attempt=attempt, worker=worker, compile=stage))

    @precondition(lambda self: len(self.log) > 5)
    @rule(fact=facts.finished, behind=behind)
    def finish(self, fact: Finished, behind: int) -> None:
        self.append(fact.replace(attempt=self.state.attempt - behind))

    @rule(worker=facts.workers, behind=behind, host_fault=st.booleans())
    def hand_back(self, worker: str, behind: int, host_fault: bool) -> None:
        attempt = self.state.attempt - behind
        self.append(HandedBack(attempt=attempt, worker=worker, reason="stops", host_fault=host_fault))

    @rule(behind=behind)
    def expire(self, behind: int) -> None:
        self.append(LeaseExpired(attempt=self.state.attempt - behind, checker="c"))

    @precondition(lambda self: len(self.log) > 10)
    @rule()
    def cancel(self) -> None:
        self.append(Cancelled())

    @rule()
    def reject(self) -> None:
        self.append(Rejected(errors=()))

    # -- and what befalls them -----------------------------------------------------------------------

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Everything from an earlier offset comes again."""
        start = data.draw(st.integers(max(0, len(self.log) - 8), len(self.log) - 1))
        for recorded in self.log[start:]:
            self.append(recorded.fact)

    @rule(milliseconds=st.integers(-60_000, 60_000))
    def pass_time(self, milliseconds: int) -> None:
        """Or set the broker's clock back."""
        self.time_ms = max(0, self.time_ms + milliseconds)

    # -- what must be true ---------------------------------------------------------------------------

    @invariant()
    def finished_never_changes(self) -> None:
        assert self.final is None or self.raw == self.final

    @invariant()
    def each_attempt_is_enqueued_once(self) -> None:
        assert self.enqueued == Counter(range(1, self.state.attempt + 1))

    @invariant()
    def attempts_are_bounded(self) -> None:
        state = self.state
        assert state.charged_attempts <= state.allowed_attempts
        assert state.host_faults <= state.allowed_host_faults
        used_up = state.charged_attempts == state.allowed_attempts
        assert state.final or not (used_up or state.host_faults == state.allowed_host_faults)
        assert [ended.attempt for ended in state.ended_attempts] == list(
            range(1, len(state.ended_attempts) + 1)
        )

    @invariant()
    def the_log_makes_the_same_bytes_again(self) -> None:
        state: Submission | None = None
        queue: list[bytes] = []
        for recorded in self.log:
            folded = apply(state, recorded)
            state = folded.state
            queue += [encode(effect.work) for effect in folded.effects if isinstance(effect, Enqueue)]
        assert state
        assert (encode(state), queue) == (self.raw, self.queue)


TestSubmissionMachine = SubmissionMachine.TestCase
TestSubmissionMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
