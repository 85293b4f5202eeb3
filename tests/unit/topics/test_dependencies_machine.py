"""Dependencies' log as it grows: any fact at any time, late, again, or about generations that are over.

See `test_submissions_machine.py`; here an object lives on after its end, in generations.
"""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.topics import facts
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
from topics.fold import Enqueue, Recorded, Stop
from topics.kafka.codec import encode
from topics.request.limits import DependenciesLimits
from topics.request.model import BASE

ID = "id"
behind = st.integers(-1, 2)
REQUESTED = Requested(dependencies=BASE, package_set="p", system="s", limits=DependenciesLimits())


class DependenciesMachine(RuleBasedStateMachine):
    """One set of dependencies."""

    @initialize(allowed=facts.allowed)
    def request_first(self, allowed: int) -> None:
        self.log: list[Recorded[DependenciesFact]] = []
        self.raw = b""
        self.enqueued: Counter[int] = Counter()
        self.queue: list[bytes] = []
        self.answers: dict[int, bytes] = {}
        self.asked_ms = 0
        self.time_ms = 1_000_000
        self.append(REQUESTED.replace(allowed_attempts=allowed, allowed_host_faults=allowed))

    def append(self, fact: DependenciesFact) -> None:
        """Fold it, by a store that has only the row of its topic."""
        recorded = Recorded(ID, fact, self.time_ms)
        self.log.append(recorded)
        before = EnvironmentState.model_validate_json(self.raw) if self.raw else None
        folded = apply(before, recorded)
        assert folded.state
        if folded.refused is None:
            self.raw = encode(folded.state)
            if isinstance(fact, Installed | Failed):
                assert before
                assert before.attempt == fact.attempt == folded.state.attempt
        if isinstance(fact, Requested):
            assert folded.refused is None
            self.asked_ms = max(self.asked_ms, self.time_ms)
        for effect in folded.effects:
            if isinstance(effect, Enqueue):
                assert isinstance(effect.work, Build)
                assert (effect.work.attempt, folded.state.status) == (folded.state.attempt, "queued")
                assert effect.work.generation == folded.state.generation
                self.enqueued[effect.work.attempt] += 1
                self.queue.append(encode(effect.work))
            elif isinstance(effect, Stop):
                assert folded.state.final or effect.attempt < folded.state.attempt

    @property
    def state(self) -> EnvironmentState:
        return EnvironmentState.model_validate_json(self.raw)

    # -- everybody who may append --------------------------------------------------------------------

    @rule()
    def request(self) -> None:
        self.append(REQUESTED)

    @rule(builder=facts.workers, behind=behind, waiting=st.booleans())
    def start(self, builder: str, behind: int, waiting: bool) -> None:
        self.append(Started(attempt=self.state.attempt - behind, builder=builder, waiting=waiting))

    @rule(fact=facts.installed, behind=behind)
    def install(self, fact: Installed, behind: int) -> None:
        self.append(fact.replace(attempt=self.state.attempt - behind))

    @rule(fact=facts.failed, behind=behind)
    def fail(self, fact: Failed, behind: int) -> None:
        self.append(fact.replace(attempt=self.state.attempt - behind))

    @rule(builder=facts.workers, behind=behind, host_fault=st.booleans())
    def hand_back(self, builder: str, behind: int, host_fault: bool) -> None:
        attempt = self.state.attempt - behind
        self.append(HandedBack(attempt=attempt, builder=builder, reason="stops", host_fault=host_fault))

    @rule(behind=behind)
    def expire(self, behind: int) -> None:
        self.append(LeaseExpired(attempt=self.state.attempt - behind, checker="c"))

    @rule(behind=behind, lost=st.booleans(), host=st.none() | facts.workers)
    def go(self, behind: int, lost: bool, host: str | None) -> None:
        """Evicted from a host's cache, or missed there; mostly where it is."""
        generation = self.state.generation - behind
        where = host or self.state.host or "v"
        self.append((Lost if lost else Evicted)(generation=generation, host=where))

    # -- and what befalls them -----------------------------------------------------------------------

    @precondition(lambda self: len(self.log) > 1)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Everything from an earlier offset comes again."""
        start = data.draw(st.integers(max(0, len(self.log) - 8), len(self.log) - 1))
        for recorded in self.log[start:]:
            self.append(recorded.fact)

    @rule(milliseconds=st.integers(-60_000, 60_000))
    def pass_time(self, milliseconds: int) -> None:
        """Failures expire; or the broker's clock is set back."""
        self.time_ms = max(0, self.time_ms + milliseconds)

    # -- what must be true ---------------------------------------------------------------------------

    @invariant()
    def an_end_never_changes_within_its_generation(self) -> None:
        state = self.state
        if state.final:
            answer = encode(state.replace(requested_at_ms=0, status="gone"))
            assert self.answers.setdefault(state.generation, answer) == answer
        else:
            assert state.generation not in self.answers

    @invariant()
    def whoever_asked_is_answered_by_the_next_end(self) -> None:
        assert self.state.requested_at_ms >= self.asked_ms

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

    @invariant()
    def the_log_makes_the_same_bytes_again(self) -> None:
        state: EnvironmentState | None = None
        queue: list[bytes] = []
        for recorded in self.log:
            folded = apply(state, recorded)
            state = folded.state
            queue += [encode(effect.work) for effect in folded.effects if isinstance(effect, Enqueue)]
        assert state
        assert (encode(state), queue) == (self.raw, self.queue)


TestDependenciesMachine = DependenciesMachine.TestCase
TestDependenciesMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_whoever_asked_before_the_broker_s_clock_was_set_back_is_answered() -> None:
    """One asks at 60 s, another at 30 s; a worker waits for a state that answers requests up to 60 s."""
    first = apply(None, Recorded(ID, REQUESTED, 60_000)).state
    assert apply(first, Recorded(ID, REQUESTED, 30_000)).state == first
