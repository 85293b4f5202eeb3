"""The time of an installation: what it waits for others is not charged to it, and a limit is named."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from nix.deadline import Deadline
from nix.errors import LimitError
from nix.runner import BuildLimits


async def arriving(number: int, pause_s: float = 0.0) -> AsyncIterator[int]:
    for n in range(number):
        await asyncio.sleep(pause_s)
        yield n


def test_a_wait_between_arrivals_is_not_charged() -> None:
    async def main() -> list[int]:
        deadline, got = Deadline(BuildLimits(wall_time_s=0.5)), []
        async for item in deadline.arrivals("fetching", arriving(3)):
            got.append(item)
            with deadline.stopped():
                await asyncio.sleep(0.3)
        return got

    assert asyncio.run(main()) == [0, 1, 2]


def test_an_arrival_that_is_late_is_a_limit() -> None:
    async def main() -> None:
        async for _ in Deadline(BuildLimits(wall_time_s=0.1)).arrivals("fetching", arriving(1, 60)):
            pass

    with pytest.raises(LimitError, match=r"^fetching hit the limit wall_time_s = 0\.1$"):
        asyncio.run(main())


def test_a_timeout_of_something_else_is_no_limit() -> None:
    async def main() -> None:
        async with Deadline(BuildLimits()).step("fetching"):
            raise TimeoutError("the disk does not answer")

    with pytest.raises(TimeoutError, match="the disk"):
        asyncio.run(main())


def test_a_wait_that_fails_is_not_charged_either() -> None:
    async def failed(deadline: Deadline) -> None:
        with deadline.stopped():
            await asyncio.sleep(0.6)
            raise OSError("gone")

    async def main() -> float:
        deadline = Deadline(BuildLimits(wall_time_s=0.5))
        with pytest.raises(OSError, match="gone"):
            await failed(deadline)
        return deadline.left_s()

    assert asyncio.run(main()) > 0.01
