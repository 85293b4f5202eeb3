"""Result of a stage, from the launcher's report and the counters of its control group."""

import os
import signal

from processors.sandbox.attribution import Bounds, Report, Usage, limit_exceeded, signal_name, was_full
from processors.sandbox.cgroups import Group
from processors.sandbox.model import Completed, SandboxError
from processors.sandbox.stage import StageRun


def evaluate(
    stage: StageRun, report: Report, group: Group, bounds: Bounds, full: str | None, *, host_stood_still: bool
) -> Completed:
    """Return the result of a stage that has ended.

    Args:
        stage: the stage, of which no process is left.
        report: the launcher's report.
        group: the control group of the stage.
        bounds: the limits that the worker enforces.
        full: the limit that the box had reached, see Box.full.
        host_stood_still: whether the host stood still meanwhile, so that the wall time has no meaning.

    Raises:
        SandboxError: the stage ended for a reason that is not the program's.
    """
    oom_kills = group.oom_kills()
    memory_bytes = group.memory_peak_bytes()
    if oom_kills and not was_full(memory_bytes, bounds.memory_bytes):
        raise SandboxError("the machine, or the limit of all stages together, was out of memory")
    status = report.wait_status
    if report.started_ns is None and not oom_kills:
        raise SandboxError(f"the sandbox could not be set up: {report.complaints or 'no reason was given'}")
    if status is None:
        if not (stage.stopped or oom_kills):
            raise SandboxError(f"the sandbox was ended from outside: {report.complaints or 'no trace'}")
        status = signal.SIGKILL  # pid 1 was killed with all other processes, before it could report
    wall_time_s = stage.wall_time_s
    if report.started_ns is not None and report.ended_ns is not None:
        wall_time_s = (report.ended_ns - report.started_ns) / 1e9
    name = signal_name(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
    usage = Usage(
        failed=status != 0,
        signal=name,
        wall_time_s=wall_time_s,
        cpu_time_s=stage.cpu_time_s,
        printed_too_much=stage.printed_too_much,
        oom_kills=oom_kills,
        refused_forks=group.refused_forks(),
        full=full,
    )
    limit = limit_exceeded(stage.stopped_for, usage, bounds)
    if limit == "wall_time_s" and host_stood_still:
        raise SandboxError("the host stood still while a program ran")
    return Completed(
        stdout=bytes(stage.stdout.kept),
        stderr=bytes(stage.stderr.kept),
        exit_code=None if name else os.WEXITSTATUS(status),
        signal=name,
        wall_time_s=wall_time_s,
        cpu_time_s=usage.cpu_time_s,
        memory_bytes=memory_bytes + stage.uncounted_bytes,
        limit_exceeded=limit,
        truncated=stage.printed_too_much is not None,
    )
