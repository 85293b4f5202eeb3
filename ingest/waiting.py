"""Submissions that no worker has started: how many go before one of them, and how long that takes."""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ingest.models import SubmissionWait
from topics.fold import OTHERS_EACH, Owed, Recorded
from topics.submissions.facts import Started, SubmissionFact
from topics.submissions.fold import owed
from topics.submissions.state import Submission
from topics.times import milliseconds

_WINDOW_MS = 60_000
"""Age up to which starts show how fast submissions are started."""
_SHORTEST_MS = 500
"""Time since the oldest began to wait, before which starts show nothing."""
_MOST_STARTS = 1000


class _WaitingEntry(NamedTuple):
    """One submission that waits."""

    number: int
    """Position in the order in which submissions began to wait."""
    since_ms: int
    owed: Owed | None
    """How its attempt is enqueued; None if its record is on the queue already."""


@dataclass(slots=True)
class _OwnerPlaces:
    """Numbers of one owner's submissions that wait for a turn, each list in order."""

    interactive: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self.interactive) + len(self.others)

    @property
    def oldest(self) -> int:
        """Number of the oldest."""
        return min(line[0] for line in (self.interactive, self.others) if line)

    def before(self, number: int, *, interactive: bool) -> int:
        """Return how many of this owner's submissions go before one of them."""
        if interactive:
            first = bisect_left(self.interactive, number)
            return first + min(len(self.others), first // (OTHERS_EACH - 1))
        first = bisect_left(self.others, number)
        return first + min(len(self.interactive), (OTHERS_EACH - 1) * (first + 1))


class WaitingSubmissions:
    """Submissions that wait for a worker, as of the events that this node has folded.

    The SubmissionStore decides whose turn it is, see `docs/architecture.md`. The order in which owners take
    turns is known there only, so a place may be wrong by one for each other owner. Every method may be called
    from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _WaitingEntry] = {}
        """SubmissionWait submissions by id, in the order in which they began to wait."""
        self._queued: list[int] = []
        """Numbers of those whose record is on the queue: later attempts, and all without turns."""
        self._owners: dict[str, _OwnerPlaces] = {}
        self._number = self._direct = 0
        self._starts_ms: deque[int] = deque(maxlen=_MOST_STARTS)

    def load(self, states: Iterable[Submission]) -> None:
        """Let submissions wait whose events were folded before this process started."""
        with self._lock:
            for state in sorted(states, key=lambda state: state.created_at):
                self._add(state, milliseconds(state.created_at))

    def note(self, recorded: Recorded[SubmissionFact], state: Submission) -> bool:
        """Take an event that changed a submission; return whether it is the first start of attempt 1."""
        with self._lock:
            waited = self._discard(state.id)
            if state.status == "queued":
                self._add(state, recorded.time_ms)
            elif waited and isinstance(recorded.fact, Started):
                self._starts_ms.append(recorded.happened_ms)
                return state.attempt == 1
        return False

    @property
    def others_wait(self) -> bool:
        """Whether any submission waits that no ingest node dispatches."""
        return len(self._entries) > self._direct

    def oldest_s(self, now_ms: int) -> float:
        """Return how long the submission has waited that waits longest, in seconds; 0 if none waits."""
        with self._lock:
            return max(0, now_ms - self._oldest_ms(now_ms)) / 1000

    def place(self, id: str, now_ms: int) -> SubmissionWait | None:
        """Return how long a submission waits for a worker, or None if it does not wait for one."""
        with self._lock:
            if (entry := self._entries.get(id)) is None:
                return None
            before = self._before(entry)
            per_s = self._starts_per_s(now_ms)
        estimate_s = round((before + 1) / per_s, 1) if per_s else None
        return SubmissionWait(reason="worker", before=before, estimate_s=estimate_s)

    def _add(self, state: Submission, since_ms: int) -> None:
        self._number += 1
        self._entries[state.id] = entry = _WaitingEntry(self._number, since_ms, owed(state))
        if (line := self._line(entry)) is None:
            self._direct += 1
        else:
            line.append(entry.number)

    def _discard(self, id: str) -> bool:
        """Remove a submission, and return whether it waited."""
        if (entry := self._entries.pop(id, None)) is None:
            return False
        if (line := self._line(entry)) is None:
            self._direct -= 1
        else:
            del line[bisect_left(line, entry.number)]
        if entry.owed and not self._owners.get(entry.owed.owner):
            self._owners.pop(entry.owed.owner, None)
        return True

    def _line(self, entry: _WaitingEntry) -> list[int] | None:
        """Return the numbers among which a submission waits; None if it has a slot already."""
        if entry.owed is None:
            return self._queued
        if entry.owed.dispatch == "direct":
            return None
        owner = self._owners.setdefault(entry.owed.owner, _OwnerPlaces())
        return owner.interactive if entry.owed.interactive else owner.others

    def _before(self, entry: _WaitingEntry) -> int:
        if entry.owed is None:
            return bisect_left(self._queued, entry.number)
        if entry.owed.dispatch == "direct":
            return 0
        own = self._owners[entry.owed.owner]
        mine = own.before(entry.number, interactive=entry.owed.interactive)
        return (
            len(self._queued)
            + mine
            + sum(
                min(len(owner), mine + (owner.oldest < own.oldest))
                for owner in self._owners.values()
                if owner is not own
            )
        )

    def _oldest_ms(self, now_ms: int) -> int:
        return next((entry.since_ms for entry in self._entries.values()), now_ms)

    def _starts_per_s(self, now_ms: int) -> float:
        """Return how fast submissions were started while the oldest waited; 0 if that is not known."""
        since_ms = max(self._oldest_ms(now_ms), now_ms - _WINDOW_MS)
        if now_ms - since_ms < _SHORTEST_MS:
            return 0.0
        starts_ms = [start_ms for start_ms in self._starts_ms if start_ms > since_ms]
        if len(starts_ms) == _MOST_STARTS:
            since_ms = starts_ms[0]
        return len(starts_ms) * 1000 / max(1, now_ms - since_ms)
