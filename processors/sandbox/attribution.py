"""What ended a stage: pure decisions."""

import signal
from dataclasses import dataclass

SOON_S = 0.005
"""Never look at a stage's usage more often than that."""
CHARGE_BYTES = 1 << 20
"""The kernel takes memory in pieces, the largest of which that kills for want of room is smaller."""
BURST_S = 0.1
"""The period of the CPU quota: that much of it may be used up at once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a stage may use, as far as the worker watches it."""

    wall_time_s: float
    memory_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    cpu_time_s: float = float("inf")
    cpus: float = float("inf")


@dataclass(frozen=True, slots=True)
class Report:
    """What the launcher wrote."""

    started_ns: int | None = None
    ended_ns: int | None = None
    wait_status: int | None = None
    complaints: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a stage did, once it is over."""

    failed: bool
    """Whether it ended other than by exit code 0."""
    signal: str | None
    wall_time_s: float
    cpu_time_s: float
    printed_too_much: str | None
    """`stdout_bytes` or `stderr_bytes`."""
    oom_kills: int
    refused_forks: int
    full: str | None
    """`box_bytes` or `box_files` if nothing more fitted into the box at the end."""


def parse_report(text: bytes) -> Report:
    """Take the launcher's report apart; whatever is not one of its lines is a complaint."""
    started_ns = ended_ns = wait_status = None
    complaints = []
    for line in text.decode(errors="replace").splitlines():
        match line.split():
            case ["started", nanoseconds] if nanoseconds.isdigit():
                started_ns = int(nanoseconds)
            case ["ended", status, nanoseconds] if status.isdigit() and nanoseconds.isdigit():
                wait_status, ended_ns = int(status), int(nanoseconds)
            case _:
                complaints.append(line)
    return Report(started_ns, ended_ns, wait_status, "; ".join(complaints))


def next_look_s(bounds: Bounds, wall_time_s: float, cpu_time_s: float, host_cpus: int) -> float:
    """Return how long a stage can be left alone because it cannot reach a limit of time any sooner."""
    cpu_left_s = bounds.cpu_time_s - cpu_time_s
    by_cpu_s = max(cpu_left_s / host_cpus, cpu_left_s / bounds.cpus - BURST_S)
    return max(SOON_S, min(bounds.wall_time_s - wall_time_s, by_cpu_s))


def time_exceeded(bounds: Bounds, wall_time_s: float, cpu_time_s: float) -> str | None:
    """Return the limit of time that was passed; the one passed by more if there are two."""
    over = {
        "cpu_time_s": cpu_time_s - bounds.cpu_time_s,
        "wall_time_s": wall_time_s - bounds.wall_time_s,
    }
    worst = max(over, key=lambda name: over[name])
    return worst if over[worst] > 0 else None


def was_full(peak_bytes: int, limit_bytes: int) -> bool:
    """Say whether a group reached its own memory limit; the kernel also kills when a larger one is full."""
    return peak_bytes + CHARGE_BYTES >= limit_bytes


def limit_exceeded(stopped_for: str | None, usage: Usage, bounds: Bounds) -> str | None:
    """Name the limit that a stage hit first, a field of RunLimits.

    `stopped_for` is why it was ended, if it was. Limits that only refuse are named if the stage then failed.
    """
    if stopped_for == "wall_time_s" and usage.wall_time_s <= bounds.wall_time_s:
        stopped_for = None  # it had ended by itself; its worker, paused meanwhile, saw the time first
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
    """Return a signal's name, also of those without one (real-time signals)."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
