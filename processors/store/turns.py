"""Turns: which of the submissions that wait is enqueued next.

The queue holds little more than workers have room for; everything else waits in the store's rows. The owners
of API keys take turns. All submissions from Kafka have one owner, and all over HTTP without a key another. Of
one owner those go first whose client waits for the answer, and then the oldest.

A turn is taken among the partitions of one store processor. With several, each has its share of the room.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Collection
from typing import NamedTuple

_RECENT_S = 0.1
"""Time over which starts are counted. Workers publish `Started` after half of it, so that as many may wait on
the queue without a pause of any slot."""
_LEAST = 2
"""Records that may always wait on the queue: workers of an earlier version publish no free slots."""
_STALE_S = 10.0
"""Age of a record on the queue after which it does not count: its worker may be paused."""


class Turn(NamedTuple):
    """A submission that waits to be enqueued."""

    partition: int
    id: str
    owner: str
    interactive: bool
    """Whether its client waits for the answer."""
    maybe_enqueued: bool
    """Whether a record of its attempt may be on the queue, since it was read from a row."""


class Turns:
    """Submissions that wait, and those on the queue that no worker has started. Pure; times are monotonic."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, tuple[dict[str, Turn], dict[str, Turn]]] = OrderedDict()
        """Interactive submissions and others by id, by owner in the order of the turns."""
        self._by_id: dict[str, Turn] = {}
        self._on_queue: dict[str, tuple[int, float]] = {}
        """Partition of the events, and time, of what was enqueued and not started, by id."""
        self._started_s: deque[float] = deque()

    def __len__(self) -> int:
        """Return the number of submissions that wait."""
        return len(self._by_id)

    def add(self, turn: Turn) -> None:
        """Let a submission wait, behind those of its owner."""
        if turn.id in self._by_id or turn.id in self._on_queue:
            return
        self._by_id[turn.id] = turn
        self._waiting.setdefault(turn.owner, ({}, {}))[not turn.interactive][turn.id] = turn

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

    def room(self, *, free: int, workers: int, share: float, now_s: float) -> int:
        """Return how many submissions are to be enqueued now.

        `free` slots of `workers` are known; this store processor has `share` of them.
        """
        if not self._by_id:
            return 0
        while self._started_s and self._started_s[0] <= now_s - _RECENT_S:
            self._started_s.popleft()
        most = max(_LEAST, math.ceil(share * (free + workers)) + len(self._started_s))
        on_queue = sum(since_s > now_s - _STALE_S for _, since_s in self._on_queue.values())
        if 2 * on_queue > most:  # several together: each transaction costs the broker ten requests
            return 0
        return min(most - on_queue, len(self._by_id))

    def take(self, now_s: float) -> Turn:
        """Return the submission whose turn it is; it counts as enqueued until its partition is forgotten."""
        owner, (interactive, others) = next(iter(self._waiting.items()))
        turn = next(iter((interactive or others).values()))
        self._drop(turn)
        if owner in self._waiting:
            self._waiting.move_to_end(owner)
        self._on_queue[turn.id] = turn.partition, now_s
        return turn

    def _drop(self, turn: Turn) -> None:
        del self._by_id[turn.id]
        of_owner = self._waiting[turn.owner]
        del of_owner[not turn.interactive][turn.id]
        if not any(of_owner):
            del self._waiting[turn.owner]
