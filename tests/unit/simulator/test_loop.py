"""asyncio in virtual time: what belongs to a killed process never happens, to a paused one later."""

import asyncio

import pytest

from tests.simulator.scheduler import Future
from tests.simulator.virtual.loop import VirtualLoop
from tests.unit.simulator.machine import Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_time_passes_as_the_loop_is_told(machine: Machine) -> None:
    async def main() -> float:
        started_s = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - started_s

    assert machine.run(machine.loop(), main()) == pytest.approx(3600, abs=0.01)


def test_what_asyncio_has_works(machine: Machine) -> None:
    async def main() -> list[str]:
        happened: list[str] = []
        event, lock, condition = asyncio.Event(), asyncio.Lock(), asyncio.Condition()

        async def first() -> None:
            async with lock:
                await event.wait()
                happened.append("event")
            async with condition:
                condition.notify_all()

        async def second() -> None:
            async with condition:
                await condition.wait()
                happened.append("condition")

        async with asyncio.TaskGroup() as group:
            group.create_task(second())
            group.create_task(first())
            await asyncio.sleep(1)
            assert lock.locked()
            event.set()
        happened += await asyncio.gather(asyncio.sleep(2, "b"), asyncio.sleep(1, "a"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(6)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        late = asyncio.create_task(asyncio.sleep(10))
        done, pending = await asyncio.wait({late, asyncio.create_task(asyncio.sleep(1))}, timeout=5)
        assert (len(done), pending) == (1, {late})
        late.cancel()
        return happened

    assert machine.run(machine.loop(), main()) == ["event", "condition", "b", "a"]


def test_what_is_ready_at_one_time_runs_in_the_order_of_the_calls(machine: Machine) -> None:
    loop, order = machine.loop(), list[int]()
    for number in range(10):
        loop.call_soon(order.append, number)
    cancelled = loop.call_soon(order.append, 10)
    cancelled.cancel()
    machine.advance(1)
    assert order == [*range(10)]


def interleaved(seed: int) -> list[str]:
    machine, order = Machine(seed), list[str]()

    async def main(name: str) -> None:
        for _ in range(10):
            order.append(name)
            await asyncio.sleep(0)

    for name in "ab":
        machine.loop().create_task(main(name))
    machine.advance(1)
    return order


def test_processes_interleave_by_the_seed() -> None:
    assert interleaved(1) == interleaved(1)
    assert interleaved(1) != interleaved(2)


def test_a_killed_process_does_nothing_any_more(machine: Machine) -> None:
    loop, happened = machine.loop(), list[str]()

    async def main() -> None:
        try:
            happened.append("began")
            await asyncio.sleep(1)
            happened.append("slept")
        finally:
            happened.append("finally")
            await asyncio.sleep(1)
            happened.append("cleaned up")

    loop.create_task(main())
    loop.call_later(1, happened.append, "timer")
    machine.advance(0.5)
    machine.scheduler.end(loop.process)
    machine.advance(10)
    assert happened == ["began"]
    loop.drop()
    machine.advance(10)
    assert happened == ["began", "finally"]  # which has no effect: see the ports


def test_a_process_may_end_itself(machine: Machine) -> None:
    loop, happened = machine.loop(), list[str]()
    loop.call_soon(machine.scheduler.end, loop.process)
    loop.call_soon(happened.append, "after")
    machine.advance(1)
    assert happened == []


def test_the_port_calls_of_a_dead_process_have_no_effect(machine: Machine) -> None:
    loop = machine.loop()
    [log] = machine.broker.create("topic", 1)
    machine.scheduler.end(loop.process)
    before = machine.scheduler.random.getstate()
    machine.network.produce(loop.process, "topic", b"key", b"value", [])
    machine.advance(10)
    assert log.end == 0
    assert machine.scheduler.random.getstate() == before


def test_a_paused_process_goes_on_later_in_the_same_order(machine: Machine) -> None:
    loop, happened = machine.loop(), list[tuple[str, float]]()

    def note(name: str) -> None:
        happened.append((name, loop.time()))

    loop.call_later(2, note, "second")
    loop.call_later(1, note, "first")
    machine.scheduler.pause(loop.process, 10)
    machine.advance(20)
    assert [name for name, _ in happened] == ["first", "second"]
    assert all(time_s >= 10 for _, time_s in happened)


def test_it_has_no_threads(machine: Machine) -> None:
    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(NotImplementedError, match="port"):
        machine.run(machine.loop(), main())


def test_a_failure_that_nothing_waits_for_is_raised(machine: Machine) -> None:
    def fail() -> None:
        raise ValueError("a bug")

    machine.loop().call_soon(fail)
    with pytest.raises(ValueError, match="a bug"):
        machine.advance(1)


def test_answers_of_the_simulator_are_awaited(machine: Machine) -> None:
    loop = machine.loop()
    value, error = Future(machine.scheduler), Future(machine.scheduler)

    async def main(loop: VirtualLoop) -> str:
        with pytest.raises(ValueError, match="no"):
            await loop.answer(error)
        answer: str = await loop.answer(value)
        return answer

    machine.scheduler.at(1.0, None, lambda _: error.set(error=ValueError("no")))
    machine.scheduler.at(2.0, None, lambda _: value.set("yes"))
    assert machine.run(loop, main(loop)) == "yes"
