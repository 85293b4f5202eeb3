"""A worker's process that gets into a state, says "ready", and stays there to be killed.

dying_worker STATE STATE_DIR FIRST_UID
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from processors.sandbox import Bounds, Box, Sandboxes, SandboxSettings
from tests.support.polling import eventually
from tests.system.sandbox.laboratory import LIMITS, bash, children
from topics.request.limits import MiB

LONG = LIMITS.replace(wall_time_s=60, cpu_time_s=60, memory_bytes=1024 * MiB, box_bytes=512 * MiB)
BUSY = "(setsid sleep 1000 &); : > running; while :; do :; done"


def ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


async def for_ever() -> None:
    await asyncio.Event().wait()


async def idle(_: Sandboxes) -> None:
    ready()
    await for_ever()


async def before_the_stage(sandboxes: Sandboxes) -> None:
    async with sandboxes.box({"x": b"x"}, LONG) as box, box.fork(LONG):
        ready()
        await for_ever()


async def in_set_up(sandboxes: Sandboxes) -> None:
    async with sandboxes.box({}, LONG) as box:
        run = asyncio.create_task(bash(box, BUSY, LONG))
        await asyncio.sleep(0)  # until the launcher is started
        launchers = children()
        assert launchers
        for pid in launchers:
            os.kill(pid, signal.SIGSTOP)
        ready()
        await run


async def running(sandboxes: Sandboxes) -> None:
    async with sandboxes.box({"x": b"x"}, LONG) as box, box.fork(LONG) as fork:
        await asyncio.gather(
            bash(fork, BUSY, LONG),
            sandboxes.run_bounded(
                ["bash", "-c", "setsid sleep 1000 & sleep 1000"],
                env={"PATH": "/usr/bin"},
                bounds=Bounds(wall_time_s=60, memory_bytes=64 * MiB, stdout_bytes=1, stderr_bytes=1000),
                processes=64,
            ),
            _when_it_runs(fork),
        )


async def _when_it_runs(box: Box) -> None:
    await asyncio.to_thread(eventually, (box.path / "running").exists, "the program runs")
    ready()


async def reading_results(sandboxes: Sandboxes) -> None:
    async with sandboxes.box({}, LONG) as box, box.fork(LONG) as fork:
        await bash(fork, "head -c 10M /dev/zero > result; mkdir -p a/b; chmod 0 a", LONG)
        with (fork.path / "result").open("rb") as result:
            result.read(1)
            ready()
            await for_ever()


async def removing(sandboxes: Sandboxes) -> None:
    async with sandboxes.box({}, LONG) as box:
        await bash(box, "for i in {1..12}; do head -c 30M /dev/zero > $i & done; wait", LONG)
        ready()
    await for_ever()


async def at_work(sandboxes: Sandboxes) -> None:
    """Go through all states, several at a time, for ever."""

    async def one() -> None:
        while True:
            async with sandboxes.box({"x": b"x"}, LONG) as box:
                await bash(box, "cp x y; (setsid sleep 1000 &)", LONG)
                async with box.fork(LONG) as fork:
                    await bash(fork, "cat y > z", LONG)
                    fork.read("z", 1)

    ready()
    await asyncio.gather(*(one() for _ in range(4)))


STATES = (idle, before_the_stage, in_set_up, running, reading_results, removing, at_work)


async def main(state: str, state_dir: str, first_uid: str) -> None:
    """Get there; in the state `starting` it is ready before anything is done."""
    if state == "starting":
        ready()
    sandboxes = Sandboxes(SandboxSettings(state_dir=Path(state_dir), first_uid=int(first_uid), boxes=32))
    await sandboxes.start()
    await next((to for to in STATES if to.__name__ == state), idle)(sandboxes)
    os.abort()  # none of them ends


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
