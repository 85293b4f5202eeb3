"""Which installation gets the next slot."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.build_turns import BuildTurns, OwnerSlots, evaluation_slots, next_owner
from processors.settings import WorkSettings
from topics.settings import KafkaSettings

GiB = 1 << 30


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Holder:
    """A task that takes a slot, and gives it back when it is told."""

    def __init__(self, slots: OwnerSlots, owner: str) -> None:
        self.has_slot, self._end = False, asyncio.Event()
        self.task = asyncio.create_task(self._run(slots, owner))

    async def _run(self, slots: OwnerSlots, owner: str) -> None:
        async with slots.take(owner):
            self.has_slot = True
            await self._end.wait()
        self.has_slot = False

    async def end(self) -> None:
        self._end.set()
        await self.task
        await settle()


def with_slots(holders: list[Holder]) -> list[bool]:
    return [holder.has_slot for holder in holders]


@pytest.mark.parametrize(
    ("waiting", "running", "served", "expected"),
    [
        ([], {}, {}, None),
        (["a"], {}, {}, "a"),
        (["a", "b"], {"a": 1}, {"a": 1}, "b"),
        (["a", "b"], {"a": 2, "b": 1}, {"a": 1, "b": 2}, "b"),
        (["a", "b"], {"a": 1, "b": 1}, {"a": 2, "b": 1}, "b"),
        (["a", "b"], {}, {"a": 1}, "b"),
        (["a", "b"], {}, {}, "a"),
        (["a"], {"a": 3}, {"a": 1}, None),
        (["a", "b"], {"a": 3, "b": 3}, {}, None),
    ],
)
def test_the_owner_with_the_fewest_slots_goes_first_then_who_was_served_least_recently(
    waiting: list[str], running: dict[str, int], served: dict[str, int], expected: str | None
) -> None:
    assert next_owner(waiting, running, served, most=3) == expected


@pytest.mark.parametrize(
    ("cpus", "memory_bytes", "slots"),
    [
        (2, 16 * GiB, 8),
        (1, 16 * GiB, 4),
        (6, 100 * GiB, 24),
        (64, 999 * GiB, 32),
        (2, 3 * GiB, 3),
        (2, GiB, 2),
        (1, 1, 2),
    ],
)
def test_evaluations_are_bounded_by_cpus_and_by_memory(cpus: int, memory_bytes: int, slots: int) -> None:
    assert evaluation_slots(cpus, memory_bytes, GiB) == slots


def test_a_process_holds_more_attempts_than_one_owner_may_have_unfinished() -> None:
    assert WorkSettings().held_builds > KafkaSettings().max_unfinished_builds


def test_six_expressions_that_never_end_delay_no_other_owner() -> None:
    async def test() -> None:
        turns = BuildTurns(builds=1, evaluations=2)
        evaluated: list[str] = []
        never = asyncio.Event()

        async def spin() -> None:
            async with turns.of("spinner").evaluation():
                await never.wait()
                evaluated.append("spinner")

        async def honest(owner: str) -> None:
            async with turns.of(owner).evaluation():
                await asyncio.sleep(0)
            async with turns.of(owner).preparation(), turns.of(owner).build():
                evaluated.append(owner)

        spinning = [asyncio.create_task(spin()) for _ in range(6)]
        await settle()
        await asyncio.gather(honest("a"), honest("b"), honest("a"))
        assert sorted(evaluated) == ["a", "a", "b"]
        never.set()
        await asyncio.gather(*spinning)
        assert evaluated.count("spinner") == 6

    run(test())


def test_one_owner_uses_all_slots_of_builds_but_the_next_is_anothers() -> None:
    async def test() -> None:
        slots = OwnerSlots(2)
        first = [Holder(slots, "a") for _ in range(4)]
        await settle()
        other = Holder(slots, "b")
        await settle()
        assert with_slots(first) == [True, True, False, False]
        await first[0].end()
        assert other.has_slot
        assert with_slots(first) == [False, True, False, False]
        await first[1].end()
        assert with_slots(first) == [False, False, True, False]
        for holder in (other, first[2], first[3]):
            await holder.end()

    run(test())


def test_an_owner_with_too_many_waits_although_a_slot_is_free() -> None:
    async def test() -> None:
        slots = OwnerSlots(3, most=2)
        own = [Holder(slots, "a") for _ in range(3)]
        await settle()
        assert with_slots(own) == [True, True, False]
        other = Holder(slots, "b")
        await settle()
        assert other.has_slot
        await own[1].end()
        assert own[2].has_slot
        for holder in (own[0], own[2], other):
            await holder.end()

    run(test())


def test_only_an_installation_without_a_slot_waits() -> None:
    async def test() -> None:
        slots, waits = OwnerSlots(1), list[bool]()
        async with slots.take("a", waits.append):
            assert waits == []
            waiting = asyncio.create_task(slots.take("b", waits.append).__aenter__())
            await settle()
            assert waits == [True]
        await waiting
        assert waits == [True, False]

    run(test())


@pytest.mark.parametrize("yields", [0, 1, 2, 20])
def test_whatever_is_cancelled_leaves_its_slot_to_the_next(yields: int) -> None:
    async def test() -> None:
        slots = OwnerSlots(1)
        holders = [Holder(slots, owner) for owner in ("a", "b", "b", "c")]
        await settle()
        holders[1].task.cancel()  # it waits
        holders[0]._end.set()
        for _ in range(yields):
            await asyncio.sleep(0)
        holders[2].task.cancel()  # it waits, was given a slot just now, or has it
        await settle()
        assert holders[3].has_slot
        await holders[3].end()
        last = Holder(slots, "d")
        await settle()
        assert last.has_slot
        await last.end()

    run(test())


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_all_have_a_turn_and_never_too_many_at_once(
    number: int, most: int, work: list[tuple[str, bool]]
) -> None:
    async def test() -> None:
        slots, held, done = OwnerSlots(number, most=most), Counter[str](), list[str]()

        async def one(owner: str) -> None:
            async with slots.take(owner):
                held[owner] += 1
                assert held.total() <= number
                assert held[owner] <= most
                try:
                    await asyncio.sleep(0)
                    done.append(owner)
                finally:
                    held[owner] -= 1

        tasks = [(asyncio.create_task(one(owner)), cancelled) for owner, cancelled in work]
        await asyncio.sleep(0)
        for task, cancelled in tasks:
            if cancelled:
                task.cancel()
        await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
        assert len(done) >= sum(not cancelled for _, cancelled in work)
        async with slots.take("last"):
            pass

    run(test())
