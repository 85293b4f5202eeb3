"""Processes that SIGKILL does not end: here such that the freezer of cgroup version 1 holds."""

import asyncio
from collections.abc import Iterator
from operator import not_
from pathlib import Path

import pytest

from processors.sandbox import SandboxError, Sandboxes, SandboxSettings, sandboxes, stage
from processors.sandbox.cgroups.files import read_pids, write
from tests.support.polling import eventually
from tests.support.standstill import FREEZERS
from tests.system.sandbox.laboratory import DEADLINE_S, LIMITS, Laboratory, bash, groups_of


@pytest.fixture
def freezer(settings: SandboxSettings) -> Iterator[Path]:
    if not FREEZERS.exists():
        pytest.skip("version 2 ends what is frozen")
    freezer = FREEZERS / settings.state_dir.name
    freezer.mkdir()
    yield freezer
    write(freezer / "freezer.state", "THAWED")
    eventually(lambda: read_pids(freezer), "the freezer is empty", enough=not_)
    freezer.rmdir()


async def can_run(worker: Sandboxes) -> bool:
    """Return whether a box is free, and runs a program then."""
    try:
        async with worker.box({}, LIMITS) as box:
            return (await bash(box, "echo again")).stdout == b"again\n"
    except SandboxError:
        return False


def test_their_user_is_nobody_elses(
    laboratory: Laboratory, freezer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "GIVE_UP_S", 1)
    monkeypatch.setattr(sandboxes, "REMOVE_S", 0.1)
    one = Laboratory(laboratory.settings.model_copy(update={"boxes": 1}), laboratory.groups)

    async def give_up(worker: Sandboxes) -> None:
        async with worker.box({}, LIMITS) as box:
            running = asyncio.create_task(bash(box, "exec sleep 1000"))
            await asyncio.to_thread(eventually, lambda: sleepers(laboratory.settings), "it sleeps")
            for pid in sleepers(laboratory.settings):
                write(freezer / "cgroup.procs", pid)
            write(freezer / "freezer.state", "FROZEN")
            running.cancel()
            await running

    async def experiment(worker: Sandboxes) -> None:
        with pytest.raises(SandboxError, match="cannot be killed"):
            await give_up(worker)
        with pytest.raises(SandboxError, match="all 1 boxes are in use"):
            async with worker.box({}, LIMITS):
                pass
        write(freezer / "freezer.state", "THAWED")
        await asyncio.to_thread(eventually, lambda: not read_pids(freezer), "the freezer is empty")
        async with asyncio.timeout(DEADLINE_S):
            # The worker can learn of their end a moment later.
            while not await can_run(worker):  # noqa: ASYNC110 - no event announces it
                await asyncio.sleep(0.01)

    one.run(experiment)


def sleepers(settings: SandboxSettings) -> list[int]:
    """The processes of stages that have become `sleep`."""
    stages = [stage for group in groups_of(settings.state_dir) for stage in group.glob("stage-*")]
    pids = {pid for stage in stages for pid in read_pids(stage)}
    return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]
