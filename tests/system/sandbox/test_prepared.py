"""Sandboxes that are made before there is a program for them."""

import asyncio
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import pytest

from processors.sandbox import Command, Rootfs, SandboxError, Sandboxes
from processors.sandbox.orders import MASKED
from processors.sandbox.stage import Teardown
from tests.support.polling import eventually
from tests.system.sandbox.laboratory import DEADLINE_S, LIMITS, Laboratory, bash, children, processes_of

FILL = """
{ echo 'import ctypes; ctypes.CDLL(None).setpriority(0, 1, 19)' | python3 -IS; } 2> /dev/null
head --bytes=24M /dev/zero > /dev/shm/a; head --bytes=24M /dev/zero > /tmp/b
"""
"""Fills memory that the stage's mounts keep, and slows the end of pid 1."""


def children_of(uids: Collection[int]) -> list[int]:
    """Launchers of these users."""
    return [pid for pid in children() if Path(f"/proc/{pid}").stat().st_uid in uids]


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or its parent can learn of its end; its mounts are gone before."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def mounts_seen_by(uids: Collection[int]) -> list[set[str]]:
    """Mount points in the sandboxes of these users."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended
            is_alive = process.stat().st_uid in uids and "State:\tZ" not in (process / "status").read_text()
            if is_alive and not (process / "ns/mnt").samefile("/proc/self/ns/mnt"):
                found.append({line.split()[4] for line in (process / "mountinfo").read_text().splitlines()})
    return found


def all_made(uids: Collection[int]) -> bool:
    """Whether each has just the mounts of a root without files, with that which is made last."""
    seen = mounts_seen_by(uids)
    last = [f"/proc/{name}" for name in MASKED if Path("/proc", name).exists()][-1]
    folders = [{point.split("/")[1] for point in points} for points in seen]
    return folders == [{"", "dev", "proc"}] * len(uids) and all(last in points for points in seen)


async def prepared(sandboxes: Sandboxes, count: int = 2) -> list[int]:
    """User ids of prepared sandboxes, once there are as many as there may be."""
    async with sandboxes.box({}, LIMITS) as box:
        await bash(box, "true")
    async with asyncio.timeout(DEADLINE_S):
        while len(sandboxes.prepared_uids) < count:  # noqa: ASYNC110 - nothing tells that they are there
            await asyncio.sleep(0.01)
    return sandboxes.prepared_uids


def test_the_next_box_gets_a_prepared_sandbox_and_another_is_made(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        first, second = await prepared(sandboxes)
        hits, misses = sandboxes.prepared_hits
        async with sandboxes.box({}, LIMITS) as box:
            assert box.uid == first
            assert (await bash(box, "id -u; echo x > kept")).stdout == b"1000\n"
            assert (await bash(box, "cat kept")).stdout == b"x\n", "a second stage makes its own"
            assert sandboxes.prepared_hits == (hits + 1, misses + 1)
        assert (await prepared(sandboxes))[0] not in (first, second)

    laboratory.run(experiment)


def test_a_box_that_runs_nothing_ends_its_sandbox(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        await prepared(sandboxes)
        async with sandboxes.box({}, LIMITS):
            pass
        assert processes_of(laboratory.settings, but=sandboxes.prepared_uids) == []

    laboratory.run(experiment)


def test_a_prepared_sandbox_that_was_killed_is_replaced(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        uids = await prepared(sandboxes)
        killed = children_of(uids)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: all(map(has_ended, killed)), "they are gone")
        _, misses = sandboxes.prepared_hits
        for _ in uids:
            async with sandboxes.box({}, LIMITS) as box:
                assert (await bash(box, "echo here")).stdout == b"here\n"
        assert sandboxes.prepared_hits[1] == misses + len(uids)

    laboratory.run(experiment)


def test_it_keeps_no_mount_of_the_host_and_sees_none_that_is_made_later(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({"secret": b"x"}, LIMITS):
            uids = await prepared(sandboxes)
            await asyncio.to_thread(eventually, lambda: all_made(uids), "they have entered their roots")
            seen = mounts_seen_by(uids)
            async with sandboxes.box({}, LIMITS):
                assert mounts_seen_by(uids) == seen

    laboratory.run(experiment)


def test_orders_that_cannot_be_encoded_or_obeyed_leave_no_process(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        await prepared(sandboxes)
        async with sandboxes.box({}, LIMITS) as box:
            with pytest.raises(ValueError, match="NUL"):
                await bash(box, "\0")
            gone = Rootfs({"/usr": Path("/nowhere")}, {})
            with pytest.raises(SandboxError, match="nowhere"):
                await box.run(Command(["true"]), gone, LIMITS)
            assert (await bash(box, "echo again")).stdout == b"again\n"
        assert processes_of(laboratory.settings, but=sandboxes.prepared_uids) == []

    laboratory.run(experiment)


def test_no_other_box_gets_the_user_of_a_sandbox_that_is_being_taken_down(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Laboratory(laboratory.settings.model_copy(update={"boxes": 1}), laboratory.groups)

    async def experiment(sandboxes: Sandboxes) -> None:
        is_down = asyncio.Event()
        wait = Teardown.wait

        async def slowly(teardown: Teardown) -> None:
            await is_down.wait()
            await wait(teardown)

        async def make_a_box() -> None:
            async with sandboxes.box({}, LIMITS):
                pass

        await prepared(sandboxes, 1)
        monkeypatch.setattr(Teardown, "wait", slowly)
        making = asyncio.create_task(make_a_box())
        done, _ = await asyncio.wait({making}, timeout=0.5)
        assert not done
        with pytest.raises(SandboxError, match="all 1 boxes are in use"):
            await make_a_box()
        is_down.set()
        await making
        await make_a_box()

    one.run(experiment)


def test_the_memory_of_a_stage_is_free_before_the_next_starts(laboratory: Laboratory) -> None:
    limits = LIMITS.replace(memory_bytes=64 << 20, box_bytes=64 << 20)
    tight = laboratory.settings.model_copy(update={"total_memory_bytes": 80 << 20})

    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, limits) as box:
            for _ in range(10):
                async with box.fork(limits) as fork:
                    command = Command(["bash", "-c", FILL])
                    done = await fork.run(command, Rootfs.of_host_tools(), limits)
                    assert (done.exit_code, done.limit_exceeded) == (0, None)

    Laboratory(tight, laboratory.groups).run(experiment)


class SlowTeardown(Teardown):
    """End of a sandbox that a test decides on."""

    def __init__(self, is_down: asyncio.Event) -> None:
        self._is_down = is_down

    def has_ended(self) -> bool:
        return self._is_down.is_set()

    async def wait(self) -> None:
        await self._is_down.wait()


def test_a_program_starts_when_the_sandbox_before_it_is_gone(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            is_down = asyncio.Event()
            sandboxes._take_down(box.uid, SlowTeardown(is_down))
            running = asyncio.create_task(bash(box, "echo here"))
            done, _ = await asyncio.wait({running}, timeout=0.5)
            assert not done
            is_down.set()
            result = await running
            assert (result.stdout, result.wall_time_s < 0.5) == (b"here\n", True)

    laboratory.run(experiment)
