"""Child processes that are restarted when they end."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from topics.disk import DiskWatch

log = logging.getLogger(__name__)

_BACKOFF_MAX_S = 5.0
_SETTLED_S = 10.0
"""Run time after which a process is restarted at once, without backoff."""
_LOOK_S = 1.0
"""Time after which a full disk is looked at again."""


def write_pid(file: Path, pid: int) -> None:
    """Write a process id to a file. Readers see the old number or the new one, never a part of it."""
    draft = file.with_suffix(".draft")
    try:
        draft.write_text(f"{pid}\n")
        draft.rename(file)
    except OSError:  # the process runs all the same
        log.exception("the process id cannot be written to %s", file)


async def wait_for_room(disk: DiskWatch) -> None:
    """Wait until no folder is full, since a process that is started before would end at once."""
    while disk.shortage():  # noqa: ASYNC110 - the kernel reports no room that becomes free
        await asyncio.sleep(_LOOK_S)


@dataclass(frozen=True, slots=True)
class Program:
    """Command line of a process that the supervisor keeps running."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    stop_order: int = 0
    """Processes with lower numbers are stopped first."""
    folders: tuple[Path, ...] = ()
    """Folders that it writes to when it starts. It is not started while one of them is full."""
    umask: int = -1
    """Umask of the process; -1 keeps that of its parent."""


@dataclass(slots=True)
class _Child:
    program: Program
    process: asyncio.subprocess.Process | None = None
    watcher: "asyncio.Task[None] | None" = field(default=None)


class Supervisor:
    """Keeps programs running until `stop`. A file per program contains its process id."""

    def __init__(self, pid_dir: Path) -> None:
        self._pid_dir = pid_dir
        self._children: list[_Child] = []

    def start(self, program: Program) -> None:
        """Start a program, and restart it whenever it ends."""
        child = _Child(program)
        child.watcher = asyncio.create_task(self._keep(child), name=program.name)
        self._children.append(child)

    async def stop(self, timeout_s: float) -> None:
        """Send SIGTERM to all programs in their stop order, and SIGKILL to those that outlive `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        for order in sorted({child.program.stop_order for child in self._children}):
            group = [child for child in self._children if child.program.stop_order == order]
            await asyncio.gather(*(self._end(child, deadline) for child in group))
        self._children.clear()

    async def _keep(self, child: _Child) -> None:
        disk = DiskWatch.against_full(*child.program.folders, waiting=f"the start of {child.program.name}")
        failures = 0
        while True:
            await wait_for_room(disk)
            started = time.monotonic()
            try:
                what = f"ended with {await self._run(child)}"
            except OSError as error:  # out of memory or of process ids, which may pass
                what = f"cannot be started ({error})"
            failures = 0 if time.monotonic() - started > _SETTLED_S else failures + 1
            delay_s = min(_BACKOFF_MAX_S, 0.1 * 2**failures) if failures > 1 else 0.0
            log.warning("%s %s, restarting in %.1f s", child.program.name, what, delay_s)
            await asyncio.sleep(delay_s)

    async def _run(self, child: _Child) -> int:
        """Start a program and return its exit code once it has ended."""
        child.process = await asyncio.create_subprocess_exec(
            *child.program.argv,
            env=dict(child.program.env),
            stdin=asyncio.subprocess.DEVNULL,
            umask=child.program.umask,
            start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops programs in order
        )
        write_pid(self._pid_dir / f"{child.program.name}.pid", child.process.pid)
        return await child.process.wait()

    async def _end(self, child: _Child, deadline: float) -> None:
        process, watcher = child.process, child.watcher
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), max(0.1, deadline - time.monotonic()))
        except TimeoutError:
            log.warning("%s has not ended in time, killing it", child.program.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        (self._pid_dir / f"{child.program.name}.pid").unlink(missing_ok=True)
