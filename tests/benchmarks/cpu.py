"""The CPU time of every process of a system, by its pid files."""

import os
from collections import defaultdict
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from pathlib import Path

CpuTimes = Mapping[str, float]
"""Seconds of CPU by role."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class CpuMeter:
    """What roles spend for each thing that is counted."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        self._count = 0.0

    async def over(self, counting: Awaitable[float]) -> float:
        """Wait for what counts something."""
        before = self._read()
        count = await counting
        self._count += count
        for process, seconds in self._read().items():
            self._spent_s[process[0]] += seconds - before.get(process, 0.0)
        return count

    def per_one(self) -> dict[str, float]:
        """CPU seconds of each role for one of what was counted."""
        return {role: spent_s / self._count for role, spent_s in sorted(self._spent_s.items())}

    def _read(self) -> dict[tuple[str, int], float]:
        """The CPU time of each role's process; of one that is just being started again there is none."""
        found = {}
        for role, pid in pids(self._run_dir).items():
            with suppress(FileNotFoundError, ProcessLookupError):
                found[role, pid] = cpu_time_s(pid)
        return found


def pids(run_dir: Path) -> dict[str, int]:
    """The process of each role."""
    return {file.stem: int(file.read_text()) for file in run_dir.glob("*.pid")}


def cpu_time_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S  # utime and stime, see proc(5)
