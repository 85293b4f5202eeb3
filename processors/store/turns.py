"""Turns: which of the submissions that wait is enqueued next.

The queue holds little more than workers have room for; everything else waits in the store's rows. The owners
of API keys take turns. All submissions from Kafka have one owner, and all over HTTP without a key another. Of
one owner those go first whose client waits for the answer, but for every fourth turn, and then the oldest.

A turn is taken among the partitions of one store processor. With several, each has its share of the room.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from topics.fold import OTHERS_EACH

_RECENT_S = 0.07
"""Time over which starts are counted: a little more than the 50 ms after which workers publish `Started`. As
many may count as on the queue that run already."""
_LEAST = 2
"""Records that may always wait on the queue: workers of an earlier version publish no free slots."""
_STALE_S = 600.0
"""Age of a record on the queue after which it does not count, as it may be lost."""


class Turn(NamedTuple):
    """A submission that waits to be enqueued."""

    partition: int
    id: str
    owner: str
    interactive: bool
    """Whether its client waits for the answer."""
    created_at: str
    """Append time of the request: RFC 3339, UTC, with milliseconds."""
    maybe_enqueued: bool
    """Whether a record of its attempt may be on the queue, since it was read from a row."""


@dataclass(slots=True)
class _Owner:
    """Waiting submissions of one owner by id, in order."""

    interactive: dict[str, Turn] = field(default_factory=dict)
    others: dict[str, Turn] = field(default_factory=dict)
    taken: int = 0
    """Turns since it began to wait."""

    def of(self, turn: Turn) -> dict[str, Turn]:
        """Return those among which a submission waits."""
        return self.interactive if turn.interactive else self.others

    def next(self) -> Turn:
        """Return the submission whose turn it is among those of this owner."""
        self.taken += 1
        first, second = self.interactive, self.others
        if self.taken % OTHERS_EACH == 0:
            first, second = second, first
        return next(iter((first or second).values()))


class Turns:
    """Submissions that wait, and those on the queue that no worker has started. Pure; times are monotonic."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, _Owner] = OrderedDict()
        """Owners with waiting submissions, in the order of their turns."""
        self._by_id: dict[str, Turn] = {}
        self._on_queue: dict[str, tuple[int, float]] = {}
        """Partition of the events, and time, of what was enqueued and not started, by id."""
        self._started_s: deque[float] = deque()

    def __len__(self) -> int:
        """Return the number of submissions that wait."""
        return len(self._by_id)

    def add(self, turn: Turn) -> None:
        """Let a submission wait, behind those of its owner."""
        if turn.id not in self._by_id and turn.id not in self._on_queue:
            self._by_id[turn.id] = turn
            self._owners.setdefault(turn.owner, _Owner()).of(turn)[turn.id] = turn

    def remove(self, id: str, now_s: float) -> None:
        """Note that a worker has a submission, or that it needs none any more."""
        if turn := self._by_id.get(id):
            self._drop(turn)
        if self._on_queue.pop(id, None):
            self._started_s.append(now_s)

    def forget(self, partitions: Collection[int]) -> None:
        """Drop partitions that were revoked, or whose memory is gone."""
        for turn in [turn for turn in self._by_id.values() if turn.partition in partitions]:
            self._drop(turn)
        for id in [id for id, (partition, _) in self._on_queue.items() if partition in partitions]:
            del self._on_queue[id]

    def surplus(self, *, workers: int, share: float, now_s: float) -> int:
        """Return how many submissions are to be enqueued now for slots that become free in a moment.

        This store processor has `share` of the `workers`. What waits at a worker that does not live any more
        counts, until its partitions go to another; free slots are not counted here.
        """
        while self._started_s and self._started_s[0] <= now_s - _RECENT_S:
            self._started_s.popleft()
        most = max(_LEAST, math.ceil(share * workers) + len(self._started_s))
        on_queue = sum(since_s > now_s - _STALE_S for _, since_s in self._on_queue.values())
        return min(max(0, most - on_queue), len(self._by_id))

    def take(self, now_s: float) -> Turn:
        """Return the submission whose turn it is; it counts as enqueued until its partition is forgotten."""
        name, owner = next(iter(self._owners.items()))
        turn = owner.next()
        self._drop(turn)
        if name in self._owners:
            self._owners.move_to_end(name)
        self._on_queue[turn.id] = turn.partition, now_s
        return turn

    def put_back(self, turn: Turn) -> None:
        """Let a submission wait again, before all others, whose record may be missing on the queue."""
        if not self._on_queue.pop(turn.id, None):
            return
        self.add(turn._replace(maybe_enqueued=True))
        line = self._owners[turn.owner].of(turn)
        others = {id: each for id, each in line.items() if id != turn.id}
        line.clear()
        line.update({turn.id: self._by_id[turn.id], **others})
        self._owners.move_to_end(turn.owner, last=False)

    def _drop(self, turn: Turn) -> None:
        del self._by_id[turn.id]
        owner = self._owners[turn.owner]
        del owner.of(turn)[turn.id]
        if not (owner.interactive or owner.others):
            del self._owners[turn.owner]
