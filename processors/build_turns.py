"""Turns of builds: which installation of a cache builder gets the next slot.

Evaluations, preparations and builds have slots of their own, so that archives of the next environments are
downloaded while others are built, and an expression that never ends holds up no build. A slot that becomes
free goes to the owner with the fewest slots of its kind, then to the one that was served least recently.
Installations of one owner go in the order in which they came.

All state is on the event loop. Each process has slots of its own.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

EVALUATIONS_PER_CPU = 4
"""Evaluations that run at the same time for each CPU. The kernel shares the CPUs evenly between them, so that
an honest expression, which takes 0.3 s, takes 1.2 s beside others that never end."""
LEAST_EVALUATIONS = 2
"""Slots of evaluations that any process has: one owner leaves one to the others."""
MOST_EVALUATIONS = 32
"""Slots of evaluations that no process exceeds: half of its 64 boxes, as preparations need some, too."""
PREPARED = 4
"""Slots of preparations besides two for each slot of builds: an environment keeps its slot of preparations
until it is published, and the archives of the next ones are downloaded meanwhile."""


def evaluation_slots(cpus: int, memory_bytes: int, evaluation_bytes: int) -> int:
    """Return how many expressions may be evaluated at once, each with up to `evaluation_bytes` of memory."""
    wanted = min(cpus * EVALUATIONS_PER_CPU, memory_bytes // evaluation_bytes, MOST_EVALUATIONS)
    return max(LEAST_EVALUATIONS, wanted)


def next_owner(
    waiting: Iterable[str], running: Mapping[str, int], served: Mapping[str, int], most: int
) -> str | None:
    """Return the waiting owner whose turn it is, or None if each of them has `most` slots.

    Args:
        waiting: owners in the order in which they began to wait, which decides between equals.
        running: slots that each owner holds; none if it is absent.
        served: number of the last turn of each owner; owners that are absent had none.
        most: slots that one owner may hold.
    """
    able = [owner for owner in waiting if running.get(owner, 0) < most]
    return min(able, key=lambda owner: (running.get(owner, 0), served.get(owner, 0)), default=None)


class OwnerSlots:
    """A number of slots of one kind, given to owners in turns."""

    def __init__(self, number: int, *, most: int | None = None) -> None:
        """Give out `number` slots, of which one owner may hold `most`; by default all of them."""
        self._free, self._most = number, number if most is None else most
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._served: dict[str, int] = {}
        """Number of the last turn of each owner; empty when no slot is held."""
        self._turns = 0

    @asynccontextmanager
    async def take(self, owner: str, on_wait: Callable[[bool], None] = lambda _: None) -> AsyncIterator[None]:
        """Hold one slot within the context.

        Unless a slot is free, call `on_wait` with True now, and with False once the slot is held.
        """
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        self._give()
        try:
            if not turn.done():
                on_wait(True)
                await turn
                on_wait(False)
        except BaseException:
            if turn.cancelled() or not turn.done():
                self._leave(owner, turn)
            else:  # it was given a slot just before it was cancelled
                self._release(owner)
            raise
        try:
            yield
        finally:
            self._release(owner)

    def _give(self) -> None:
        while self._free > 0:
            owner = next_owner(self._waiting, self._running, self._served, self._most)
            if owner is None:
                return
            turn = self._waiting[owner][0]
            self._leave(owner, turn)
            if turn.cancelled():
                continue
            self._free -= 1
            self._running[owner] += 1
            self._turns += 1
            self._served[owner] = self._turns
            turn.set_result(None)

    def _leave(self, owner: str, turn: "asyncio.Future[None]") -> None:
        """Remove a turn that no longer waits, if it is still there."""
        turns = self._waiting.get(owner, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(owner, None)

    def _release(self, owner: str) -> None:
        self._free += 1
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]
        self._give()
        if not (self._waiting or self._running):  # then all owners are equal again
            self._served.clear()


class BuildTurns:
    """Slots of all installations of one cache builder."""

    def __init__(self, *, builds: int, evaluations: int) -> None:
        """Give out `builds` slots of builds, twice as many and `PREPARED` of preparations, and `evaluations`.

        One owner holds at most all but one of the slots of evaluations, and of preparations. So an owner
        whose expressions never end delays no expression of another owner. Builds of one owner may use all of
        their slots.
        """
        preparations = 2 * builds + PREPARED
        self._builds = OwnerSlots(builds)
        self._preparations = OwnerSlots(preparations, most=preparations - 1)
        self._evaluations = OwnerSlots(evaluations, most=max(1, evaluations - 1))

    def of(self, owner: str, on_wait: Callable[[bool], None] = lambda _: None) -> "OwnerTurns":
        """Return the turns of one installation of an owner.

        `on_wait` is called with True when the installation begins to wait for a slot of evaluations or
        preparations, so that nothing of it runs, and with False when it has the slot.
        """
        return OwnerTurns(owner, on_wait, self._builds, self._preparations, self._evaluations)


class OwnerTurns:
    """Implementation of `nix.turns.InstallationTurns` for one installation of an owner."""

    def __init__(
        self,
        owner: str,
        on_wait: Callable[[bool], None],
        builds: OwnerSlots,
        preparations: OwnerSlots,
        evaluations: OwnerSlots,
    ) -> None:
        self._owner, self._on_wait = owner, on_wait
        self._builds, self._preparations, self._evaluations = builds, preparations, evaluations

    def evaluation(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot in which one expression is evaluated."""
        return self._evaluations.take(self._owner, self._on_wait)

    def preparation(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot in which archives are found, or one environment is fetched, built and published."""
        return self._preparations.take(self._owner, self._on_wait)

    def build(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot in which one environment is unpacked and built, besides one of `preparation`."""
        return self._builds.take(self._owner)
