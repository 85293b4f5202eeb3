"""kill -9 of a worker in every state leaves nothing after the next start; the living are not touched."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from operator import not_

import pytest

from processors.sandbox import Sandboxes, SandboxSettings
from tests.support.polling import eventually
from tests.system.sandbox import dying_worker
from tests.system.sandbox.laboratory import (
    LIMITS,
    Laboratory,
    bash,
    groups_of,
    left_by,
    mounts_of,
    processes_of,
)

STATES = ["starting", *(state.__name__ for state in dying_worker.STATES)]


@contextmanager
def worker_in(state: str, settings: SandboxSettings) -> Iterator[subprocess.Popen[str]]:
    """Another worker's process that got into a state; killed at the end."""
    command = [sys.executable, "-m", dying_worker.__name__, state]
    command += [str(settings.state_dir), str(settings.first_uid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        try:
            assert worker.stdout.readline() == "ready\n"
            yield worker
        finally:
            worker.kill()


async def nothing(_: Sandboxes) -> None:
    """Start and close."""


def steady_processes(settings: SandboxSettings) -> int:
    """The number of processes, once no sandbox is being prepared or taken down."""
    counts: list[int] = []

    def is_steady() -> bool:
        counts.append(len(processes_of(settings)))
        time.sleep(0.05)
        return len(counts) > 5 and len(set(counts[-5:])) == 1

    eventually(is_steady, "processes neither start nor end")
    return counts[-1]


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_left_after_the_next_start(laboratory: Laboratory, state: str) -> None:
    settings = laboratory.settings
    with worker_in(state, settings):
        groups = groups_of(settings.state_dir)
        assert groups or state == "starting"
    laboratory.run(nothing)
    assert left_by(settings, groups) == []


def test_programs_die_with_their_worker_before_anybody_sweeps(laboratory: Laboratory) -> None:
    with worker_in("running", laboratory.settings):
        assert processes_of(laboratory.settings)
    eventually(lambda: processes_of(laboratory.settings), "no program runs", enough=not_)
    laboratory.run(nothing)


def test_killed_at_any_moment_again_and_again(laboratory: Laboratory) -> None:
    chance = random.Random(4)
    groups = []
    for _ in range(8):
        with worker_in("at_work", laboratory.settings):
            time.sleep(chance.uniform(0, 0.3))
            groups += groups_of(laboratory.settings.state_dir)
    laboratory.run(nothing)
    assert left_by(laboratory.settings, groups) == []


@pytest.mark.parametrize("state", ["before_the_stage", "running", "reading_results"])
def test_a_living_worker_is_not_touched(laboratory: Laboratory, state: str) -> None:
    settings = laboratory.settings
    with worker_in(state, settings) as worker:
        before = steady_processes(settings), mounts_of(settings), groups_of(settings.state_dir)

        async def experiment(sandboxes: Sandboxes) -> None:
            async with sandboxes.box({}, LIMITS) as box:
                assert (await bash(box, "echo x")).stdout == b"x\n"
                places = {path.parent.name for path in settings.state_dir.glob("*/groups")}
                assert places == {"0", "1"}

        laboratory.run(experiment)
        worker.send_signal(signal.SIGSTOP)  # stopped is not dead
        laboratory.run(nothing)
        assert (steady_processes(settings), mounts_of(settings), groups_of(settings.state_dir)) == before
        assert all(group.exists() for group in before[2])
        assert worker.poll() is None
    laboratory.run(nothing)
