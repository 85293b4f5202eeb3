"""Runs programs in sandboxes of the test's own, and looks for what they left."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from processors.sandbox import Box, Command, Completed, Rootfs, Sandboxes, SandboxSettings
from topics.request.limits import RunLimits

T = TypeVar("T")
LIMITS = RunLimits(wall_time_s=30, cpu_time_s=20)
"""Far more than any test needs, on a busy machine too."""
DEADLINE_S = 60


def in_user_namespace() -> bool:
    """Whether this is tests/system/uml/user_namespace.sh, which maps 65,536 user ids."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@dataclass(frozen=True)
class Laboratory:
    settings: SandboxSettings
    groups: list[Path] = field(default_factory=list)
    """All control groups that were ever made for workers here."""

    def run(self, experiment: Callable[[Sandboxes], Awaitable[T]]) -> T:
        """Run a coroutine function with started sandboxes."""

        async def main() -> T:
            sandboxes = Sandboxes(self.settings)
            await sandboxes.start()
            self.groups.extend(groups_of(self.settings.state_dir))
            try:
                return await experiment(sandboxes)
            finally:
                await sandboxes.close()

        return asyncio.run(main())

    def script(
        self,
        script: str,
        limits: RunLimits = LIMITS,
        files: Mapping[str, bytes] | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        """Run a bash script in a box of its own."""

        async def experiment(sandboxes: Sandboxes) -> Completed:
            async with sandboxes.box(files or {}, limits) as box:
                return await bash(box, script, limits, stdin)

        return self.run(experiment)

    def python(self, source: str, limits: RunLimits = LIMITS, stdin: bytes = b"") -> Completed:
        """Run a Python program in a box of its own."""
        return self.script("exec python3 -ISB main.py", limits, {"main.py": source.encode()}, stdin)


async def bash(box: Box, script: str, limits: RunLimits = LIMITS, stdin: bytes = b"") -> Completed:
    return await box.run(Command(["bash", "-c", script], stdin=stdin), Rootfs.of_host_tools(), limits)


@contextmanager
def temporary_settings() -> Iterator[SandboxSettings]:
    """Settings with a state folder and user ids that no other test has."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    state_dir = Path(tempfile.mkdtemp(prefix="sandboxes-"))
    state_dir.chmod(0o711)
    first_uid = 1_910_000_000 + os.getpid() % 100_000 * 1000
    if in_user_namespace():
        first_uid = 10_000
    yield SandboxSettings(state_dir=state_dir, first_uid=first_uid, boxes=32)
    shutil.rmtree(state_dir)


def left_by(settings: SandboxSettings, groups: Sequence[Path]) -> list[object]:
    """What is left of workers that are gone: processes, mounts, control groups, files."""
    return [
        *processes_of(settings),
        *mounts_of(settings),
        *groups_of(settings.state_dir),
        *(group for group in groups if group.exists()),
        *(path for path in settings.state_dir.glob("*/*") if path.name != "lock"),
    ]


def groups_of(state_dir: Path) -> list[Path]:
    """The parent groups of workers as they noted them."""
    return [Path(line) for note in state_dir.glob("*/groups") for line in note.read_text().splitlines()]


def processes_of(settings: SandboxSettings, *, but: Collection[int] = ()) -> list[str]:
    """The command lines of processes that run as a user of our boxes, without the users `but`."""
    uids = {*range(settings.first_uid, settings.first_uid + 8 * settings.boxes)} - {*but}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid in uids and "State:\tZ" not in (process / "status").read_text():
                found.append((process / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def programs_of(settings: SandboxSettings) -> list[str]:
    """The command lines of those processes that are no launchers, whose command lines are erased."""
    return [line for line in processes_of(settings) if line.strip("\0")]


def children() -> list[int]:
    """The processes that this one has started, and those started for it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it is gone meanwhile
            pid, _, values = path.read_text().partition(" ")
            if int(values.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(pid))
    return found


def mounts_of(settings: SandboxSettings) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(settings.state_dir) in line]
