"""Submissions that no worker has started: how many go before one of them, and how long that takes."""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple, Self

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
"""Number of starts that are kept, at most."""
_OUTLOOK_MS = 500
"""Age up to which an outlook is used, so that its cost does not grow with the number of clients."""


class _WaitingEntry(NamedTuple):
    """One submission that waits."""

    number: int
    """Position in the order in which submissions began to wait."""
    since_ms: int
    """Unix time at which it began to wait, in milliseconds."""
    owed: Owed | None
    """How its attempt is enqueued; None if its record is on the queue already."""


@dataclass(slots=True)
class _OwnerNumbers:
    """Numbers of one owner's submissions that wait for a turn, each list in order."""

    interactive: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self.interactive) + len(self.others)

    def before(self, number: int, *, interactive: bool) -> int:
        """Return how many of this owner's submissions go before one of them."""
        if interactive:
            first = bisect_left(self.interactive, number)
            return first + min(len(self.others), first // (OTHERS_EACH - 1))
        first = bisect_left(self.others, number)
        return first + min(len(self.interactive), (OTHERS_EACH - 1) * (first + 1))


class _Outlook(NamedTuple):
    """Lengths and rate from which every position is computed, as of one moment."""

    at_ms: int
    starts_per_s: float
    """Rate at which submissions were started while the oldest waited; 0 if it is not known."""
    lengths: list[int]
    """How many submissions of each owner wait, in ascending order."""
    sums: list[int]
    """Sums of the first lengths."""

    @classmethod
    def of(cls, at_ms: int, starts_per_s: float, lengths: Iterable[int]) -> Self:
        """Return the outlook for owners with so many waiting submissions each."""
        ordered = sorted(lengths)
        return cls(at_ms, starts_per_s, ordered, list(accumulate(ordered, initial=0)))

    def turns(self, most: int) -> int:
        """Return how many turns all owners take together if each takes at most so many."""
        shorter = bisect_left(self.lengths, most)
        return self.sums[shorter] + most * (len(self.lengths) - shorter)


class WaitingSubmissions:
    """Submissions that wait for a worker, as of the events that this node has folded.

    The SubmissionStore decides whose turn it is, see `docs/architecture.md`. Only it knows the order in which
    owners take turns, and how many turns each has had. With several store processors each takes turns of its
    own. So a position is an estimate. Every method may be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _WaitingEntry] = {}
        """Waiting submissions by id, in the order in which they began to wait."""
        self._queued: list[int] = []
        """Numbers of those whose record is on the queue: later attempts, and all without turns."""
        self._owners: dict[str, _OwnerNumbers] = {}
        """Numbers of those that wait for a turn, by owner."""
        self._number = self._direct = 0
        """Number of the last entry, and number of entries that ingest nodes dispatch."""
        self._starts_ms: deque[int] = deque(maxlen=_MOST_STARTS)
        """Unix times of the last starts, in milliseconds."""
        self._outlook = _Outlook.of(0, 0.0, ())

    def load(self, states: Iterable[Submission], now_ms: int) -> None:
        """Add queued submissions whose events were folded before this process started, the oldest first.

        A later attempt counts as if it began to wait now, which is not in its state.
        """
        for state in states:
            with self._lock:
                since_ms = milliseconds(state.created_at) if state.attempt == 1 else now_ms
                self._add(state, since_ms)

    def correct(self, id: str, state: Submission | None) -> None:
        """Take a state that was corrected without an event; None if there is no such submission any more."""
        with self._lock:
            self._discard(id)
            if state and state.status == "queued":
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
    def undispatched(self) -> int:
        """Number of waiting submissions that no ingest node dispatches."""
        return len(self._entries) - self._direct

    def oldest_s(self, now_ms: int) -> float:
        """Return the longest time for which a waiting submission has waited, in seconds; 0 if none waits."""
        with self._lock:
            return max(0, now_ms - self._oldest_ms(now_ms)) / 1000

    def wait_of(self, id: str, now_ms: int) -> SubmissionWait | None:
        """Return what a submission waits for, or None if it does not wait for a worker."""
        with self._lock:
            if (entry := self._entries.get(id)) is None:
                return None
            if now_ms - self._outlook.at_ms > _OUTLOOK_MS:
                lengths = map(len, self._owners.values())
                self._outlook = _Outlook.of(now_ms, self._starts_per_s(now_ms), lengths)
            before = self._before(entry)
            per_s = self._outlook.starts_per_s
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
        owner = self._owners.setdefault(entry.owed.owner, _OwnerNumbers())
        return owner.interactive if entry.owed.interactive else owner.others

    def _before(self, entry: _WaitingEntry) -> int:
        if entry.owed is None:
            return bisect_left(self._queued, entry.number)
        if entry.owed.dispatch == "direct":
            return 0
        own = self._owners[entry.owed.owner]
        mine = own.before(entry.number, interactive=entry.owed.interactive)
        others = max(0, self._outlook.turns(mine) - min(len(own), mine))
        return len(self._queued) + mine + others

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
