"""The real `Offsets` and `FirstDeliveries`, as the mirrored attempts use them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from processors.queue.offsets import Delivery
from processors.queue.offsets import Offsets as RealOffsets


@dataclass(slots=True, eq=False)
class Taken(Delivery[Any]):
    """A delivery, and since when it is here."""

    work: Any
    since_s: float = 0.0


class Offsets:
    """Settles what is over before it is asked."""

    def __init__(self, over: Callable[[Any], bool]) -> None:
        self._over = over
        self._real: RealOffsets[Any] = RealOffsets()

    def take(self, partition: int, offset: int, work: Any, now_s: float) -> None:
        """A record; without work it is settled at once."""
        self._real.add(Taken(partition, offset, work, settled=work is None, since_s=now_s))

    def unsettled(
        self, partitions: Collection[int] | None = None, *, until_s: float = float("inf")
    ) -> list[Taken]:
        """What a commit would lose."""
        found = [each for each in self._real.unsettled(partitions) if isinstance(each, Taken)]
        for each in found:
            each.settled = self._over(each.work)
        return [each for each in found if not each.settled and each.since_s <= until_s]

    def committable(self) -> dict[int, int]:
        """The next offsets."""
        self.unsettled()
        return self._real.committable()

    def committed(self, offsets: dict[int, int]) -> None:
        """They were."""
        self._real.committed(offsets)

    def forget(self, partitions: Collection[int]) -> None:
        """Others own them."""
        self._real.forget(partitions)
