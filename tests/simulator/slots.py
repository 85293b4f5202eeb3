"""Mirrors `processors/queue/slots.py`."""

from tests.simulator.scheduler import Cancelled, Future, Scheduler, Wait


class Slots:
    """`Slots`: first come, first served; work that runs alone takes them all."""

    def __init__(self, scheduler: Scheduler, number: int) -> None:
        self._scheduler, self._number, self._free = scheduler, number, number
        self._queue: list[tuple[int, Future]] = []

    def take(self, *, alone: bool) -> Wait:
        """Wait for one place, or for every place; returns how many it was."""
        needed = self._number if alone else 1
        turn = Future(self._scheduler)
        self._queue.append((needed, turn))
        self._serve()
        try:
            yield turn
        except Cancelled:
            if (needed, turn) in self._queue:
                self._queue.remove((needed, turn))
                self._serve()
            else:
                self.give_back(needed)
            raise
        return needed

    def give_back(self, places: int) -> None:
        """They are free again."""
        self._free += places
        self._serve()

    def _serve(self) -> None:
        while self._queue and self._queue[0][0] <= self._free:
            needed, turn = self._queue.pop(0)
            self._free -= needed
            turn.set()
