"""Sandboxes that are made before there is a program for them."""

import asyncio
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import pytest

from processors.sandbox import Command, Rootfs, SandboxError, Sandboxes
from tests.support.polling import eventually
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash, children, mounts_of, processes_of


def children_of(uids: Collection[int]) -> list[int]:
    """Launchers of these users."""
    return [pid for pid in children() if Path(f"/proc/{pid}").stat().st_uid in uids]


def mounts_seen_by(uids: Collection[int]) -> list[set[str]]:
    """Mount points in the sandboxes of these users."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended
            is_alive = process.stat().st_uid in uids and "State:\tZ" not in (process / "status").read_text()
            if is_alive and not (process / "ns/mnt").samefile("/proc/self/ns/mnt"):
                found.append({line.split()[4] for line in (process / "mountinfo").read_text().splitlines()})
    return found


async def prepared(sandboxes: Sandboxes) -> list[int]:
    """User ids of prepared sandboxes, once there are as many as there may be."""
    async with sandboxes.box({}, LIMITS) as box:
        await bash(box, "true")
    await asyncio.sleep(0.05)
    return sandboxes.prepared_uids


def test_the_next_box_gets_a_prepared_sandbox_and_another_is_made(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        first, *others = await prepared(sandboxes)
        hits, misses = sandboxes.prepared_hits
        async with sandboxes.box({}, LIMITS) as box:
            assert box.uid == first
            assert (await bash(box, "id -u; echo x > kept")).stdout == b"1000\n"
            assert (await bash(box, "cat kept")).stdout == b"x\n", "a second stage makes its own"
        await asyncio.sleep(0.05)
        assert sandboxes.prepared_hits == (hits + 1, misses + 1)
        assert sandboxes.prepared_uids[: len(others)] == others
        assert len(sandboxes.prepared_uids) == laboratory.settings.prepared

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
        for pid in children_of(uids):
            os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: not mounts_seen_by(uids), "they are gone")
        for _ in uids:
            async with sandboxes.box({}, LIMITS) as box:
                assert (await bash(box, "echo here")).stdout == b"here\n"

    laboratory.run(experiment)


def test_it_keeps_no_mount_of_the_host(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({"secret": b"x"}, LIMITS):
            uids = await prepared(sandboxes)
            seen = mounts_seen_by(uids)
            assert len(seen) == len(uids)
            for points in seen:
                assert {point.split("/")[1] for point in points} == {"", "dev", "proc"}

    laboratory.run(experiment)


def test_a_mount_that_the_host_makes_later_is_not_seen(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> bytes:
        await prepared(sandboxes)
        async with sandboxes.box({}, LIMITS) as box:
            before = len(mounts_of(laboratory.settings))
            async with sandboxes.box({}, LIMITS):
                assert len(mounts_of(laboratory.settings)) == before + 1
                return (await bash(box, "grep -c ' /box ' /proc/self/mountinfo")).stdout

    assert laboratory.run(experiment) == b"1\n"


def test_orders_that_cannot_be_encoded_leave_no_process(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        await prepared(sandboxes)
        async with sandboxes.box({}, LIMITS) as box:
            with pytest.raises(ValueError, match="NUL"):
                await bash(box, "\0")
            gone = Rootfs({"/usr": Path("/nowhere")}, {})
            with pytest.raises(SandboxError, match="nowhere"):
                await box.run(Command(["true"]), gone, LIMITS)
            assert (await bash(box, "echo again")).stdout == b"again\n"
        eventually(
            lambda: processes_of(laboratory.settings, but=sandboxes.prepared_uids) == [], "nothing is left"
        )

    laboratory.run(experiment)
