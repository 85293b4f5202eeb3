"""Who runs when: first come, first served, and some alone."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.queue.slots import Slots


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Work:
    """Work that takes a place, says when, and ends when it is told."""

    def __init__(self, slots: Slots, *, alone: bool = False) -> None:
        self.running, self._end = False, asyncio.Event()
        self.task = asyncio.create_task(self._run(slots, alone))

    async def _run(self, slots: Slots, alone: bool) -> None:
        async with slots.take(exclusive=alone):
            self.running = True
            await self._end.wait()
        self.running = False

    async def end(self) -> None:
        self._end.set()
        await self.task
        await settle()


def test_no_more_run_than_there_are_places_and_in_order() -> None:
    async def test() -> None:
        slots = Slots(2)
        works = [Work(slots) for _ in range(5)]
        await settle()
        assert [work.running for work in works] == [True, True, False, False, False]
        await works[1].end()
        assert [work.running for work in works] == [True, False, True, False, False]
        for work in works:
            await work.end()

    run(test())


def test_alone_means_nothing_beside_it_and_is_not_overtaken() -> None:
    async def test() -> None:
        slots = Slots(2)
        first, alone, later = Work(slots), Work(slots, alone=True), Work(slots)
        await settle()
        assert [first.running, alone.running, later.running] == [True, False, False]
        await first.end()
        assert [alone.running, later.running] == [True, False]
        await alone.end()
        assert later.running
        await later.end()

    run(test())


@pytest.mark.parametrize("alone", [False, True])
def test_whoever_is_cancelled_while_waiting_or_running_leaves_its_place(alone: bool) -> None:
    async def test() -> None:
        slots = Slots(1)
        running, waiting, last = Work(slots), Work(slots, alone=alone), Work(slots)
        await settle()
        waiting.task.cancel()
        await settle()
        assert [running.running, last.running] == [True, False]
        running.task.cancel()
        await settle()
        assert last.running
        await last.end()

    run(test())


@settings(max_examples=30)
@given(st.integers(1, 4), st.lists(st.booleans(), max_size=12))
def test_everybody_has_a_turn_and_never_too_many_at_once(number: int, alone: list[bool]) -> None:
    async def test() -> None:
        slots, inside, order = Slots(number), list[int](), list[int]()

        async def work(name: int) -> None:
            async with slots.take(exclusive=alone[name]):
                order.append(name)
                inside.append(name)
                assert len(inside) <= number
                assert len(inside) == 1 or not any(alone[other] for other in inside)
                await asyncio.sleep(0)
                inside.remove(name)

        await asyncio.gather(*map(work, range(len(alone))))
        assert order == [*range(len(alone))]

    run(test())
