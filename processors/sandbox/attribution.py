"""Attribution of the end of a stage to a limit. Pure."""

import signal
from dataclasses import dataclass

SOON_S = 0.005
"""Shortest time between two checks of a stage's usage."""
CHARGE_BYTES = 1 << 20
"""Upper bound of a memory charge that triggers the OOM killer.

The recorded peak of a group that reached its limit lies at most this far below the limit.
"""
BURST_S = 0.1
"""Period of the CPU quota: a stage may use up the quota of one period at once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a stage that the worker itself enforces or attributes."""

    wall_time_s: float
    memory_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    cpu_time_s: float = float("inf")
    cpus: float = float("inf")
    """CPU quota in processors, by which the CPU time can grow."""


@dataclass(frozen=True, slots=True)
class Report:
    """Report of the launcher, see launcher.c."""

    started_ns: int | None = None
    """Monotonic time right before the program was executed."""
    ended_ns: int | None = None
    """Monotonic time at which the program had ended."""
    wait_status: int | None = None
    """Wait status of the program, as of waitpid."""
    complaints: str = ""
    """Error messages, separated by semicolons."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource usage and end of a stage."""

    failed: bool
    """True if the exit code is not 0, or a signal ended the program."""
    signal: str | None
    wall_time_s: float
    cpu_time_s: float
    printed_too_much: str | None
    """Limit of output that was exceeded: `stdout_bytes`, `stderr_bytes` or None."""
    oom_kills: int
    refused_forks: int
    full: str | None
    """`box_bytes` or `box_files` if the box had reached that limit at the end."""


def parse_report(text: bytes) -> Report:
    """Parse the launcher's report; any line in another format is a complaint."""
    started_ns = ended_ns = wait_status = None
    complaints = []
    for line in text.decode(errors="replace").splitlines():
        match line.split():
            case ["started", nanoseconds] if nanoseconds.isdigit():
                started_ns = int(nanoseconds)
            case ["ended", status, nanoseconds] if status.isdigit() and nanoseconds.isdigit():
                wait_status, ended_ns = int(status), int(nanoseconds)
            case ["empty"]:  # for StageRun alone
                pass
            case _:
                complaints.append(line)
    return Report(started_ns, ended_ns, wait_status, "; ".join(complaints))


def next_check_s(bounds: Bounds, wall_time_s: float, cpu_time_s: float, host_cpus: int) -> float:
    """Return the time in which a stage cannot reach a limit on time, so that it need not be checked."""
    cpu_left_s = bounds.cpu_time_s - cpu_time_s
    by_cpu_s = max(cpu_left_s / host_cpus, cpu_left_s / bounds.cpus - BURST_S)
    return max(SOON_S, min(bounds.wall_time_s - wall_time_s, by_cpu_s))


def time_exceeded(bounds: Bounds, wall_time_s: float, cpu_time_s: float) -> str | None:
    """Return the limit on time that was exceeded, the one exceeded by more if there are two, or None."""
    over = {
        "cpu_time_s": cpu_time_s - bounds.cpu_time_s,
        "wall_time_s": wall_time_s - bounds.wall_time_s,
    }
    worst = max(over, key=lambda name: over[name])
    return worst if over[worst] > 0 else None


def was_full(peak_bytes: int, limit_bytes: int) -> bool:
    """Return whether a group reached its own memory limit.

    If it did not, the OOM killer acted for the limit of a group above, or for the whole machine.
    """
    return peak_bytes + CHARGE_BYTES >= limit_bytes


def limit_exceeded(stopped_for: str | None, usage: Usage, bounds: Bounds) -> str | None:
    """Return the limit that a stage hit first, a field name of RunLimits, or None.

    `stopped_for` is the limit for which the worker killed the stage. Limits that only refuse a request of the
    program count if the stage then failed.
    """
    if stopped_for == "wall_time_s" and usage.wall_time_s <= bounds.wall_time_s:
        stopped_for = None  # the stage had ended by itself; a paused worker checked the time first
    if stopped_for is not None:
        return stopped_for
    if usage.oom_kills:
        return "memory_bytes"
    if usage.signal == "SIGXFSZ":
        return "file_size_bytes"
    too_much = usage.printed_too_much or time_exceeded(bounds, usage.wall_time_s, usage.cpu_time_s)
    if too_much is not None or not usage.failed:
        return too_much
    return "processes" if usage.refused_forks else usage.full


def signal_name(number: int) -> str:
    """Return the name of a signal; real-time signals are named by their distance from SIGRTMIN."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
