"""Limits of a stage: names, units, defaults and ceilings, as in the table of docs/architecture.md.

A field's default applies if a request does not set it. A value above its ceiling is refused. So is a value
below its floor, with which not even `true` runs reliably. The resolved limits are written into Requested,
so later changes of this table never change the past. The package `processors.sandbox` enforces them.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, cast

from annotated_types import Ge, Le
from pydantic import Field

from topics.model import Model

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB

STACK_BYTES = 8 * MiB
"""Stack of a program whose request does not set it: the default of Linux."""


class OutputLimits(Model):
    """Bounds on the output of a stage, which is killed beyond them; the output up to the bound is kept."""

    stdout_bytes: Annotated[int, Field(ge=1, le=4 * MiB)] = 1 * MiB
    """Bytes of standard output; the stage is killed beyond them."""
    stderr_bytes: Annotated[int, Field(ge=1, le=4 * MiB)] = 1 * MiB
    """Bytes of standard error; the stage is killed beyond them."""


class RunLimits(OutputLimits):
    """Limits of one test case."""

    wall_time_s: Annotated[float, Field(ge=0.1, le=60)] = 10.0
    """Wall time in seconds. On a busy host it exceeds the CPU time by far, so `cpu_time_s` is the fair limit
    for a contest, and this one a bound on sleeping."""
    cpu_time_s: Annotated[float, Field(ge=0.1, le=60)] = 10.0
    """CPU time in seconds of all processes of the stage together."""
    memory_bytes: Annotated[int, Field(ge=4 * MiB, le=2 * GiB)] = 256 * MiB
    """Memory in bytes of all processes of the stage and of its tmpfs mounts; there is no swap."""
    processes: Annotated[int, Field(ge=1, le=512)] = 64
    """Processes and threads at a time; beyond it fork and clone fail with EAGAIN."""
    file_size_bytes: Annotated[int, Field(ge=1, le=256 * MiB)] = 32 * MiB
    """Size in bytes of the largest single file; a write beyond it raises SIGXFSZ."""
    open_files: Annotated[int, Field(ge=8, le=4096)] = 256
    """Open file descriptors of one process; beyond it opening fails with EMFILE."""
    box_bytes: Annotated[int, Field(ge=4 * KiB, le=512 * MiB)] = 64 * MiB
    """Size in bytes of the writable /box; beyond it writes fail with ENOSPC."""
    box_files: Annotated[int, Field(ge=1, le=65536)] = 4096
    """Files and folders in /box; beyond it creating one fails with ENOSPC."""
    cpus: Annotated[float, Field(ge=0.1, le=2)] = 1.0
    """Processors that the stage may use at a time, on average over 0.1 s; 0.5 is half of one."""
    # It is left out if it is the default, so that events of versions without it are folded to the same bytes.
    stack_bytes: Annotated[
        int, Field(ge=64 * KiB, le=2 * GiB, exclude_if=lambda stack_bytes: stack_bytes == STACK_BYTES)
    ] = STACK_BYTES
    """Size in bytes of the stack of the main thread; deeper recursion raises SIGSEGV. Its pages count as
    memory."""


class CompileLimits(RunLimits):
    """Limits of the compile stage."""

    wall_time_s: Annotated[float, Field(ge=0.1, le=300)] = 60.0
    cpu_time_s: Annotated[float, Field(ge=0.1, le=300)] = 60.0
    memory_bytes: Annotated[int, Field(ge=4 * MiB, le=4 * GiB)] = 1 * GiB
    processes: Annotated[int, Field(ge=1, le=512)] = 128
    file_size_bytes: Annotated[int, Field(ge=1, le=512 * MiB)] = 128 * MiB
    box_bytes: Annotated[int, Field(ge=4 * KiB, le=1 * GiB)] = 256 * MiB
    box_files: Annotated[int, Field(ge=1, le=65536)] = 16384


class DependenciesLimits(OutputLimits):
    """Limits of evaluating and building a set of dependencies."""

    wall_time_s: Annotated[float, Field(ge=1, le=900)] = 300.0
    """Wall time in seconds of evaluation and build together."""
    memory_bytes: Annotated[int, Field(ge=64 * MiB, le=4 * GiB)] = 2 * GiB
    """Memory in bytes of all processes of the evaluation or the build."""

    def joined(self, other: "DependenciesLimits") -> "DependenciesLimits":
        """Return the larger value of each limit."""
        larger = {name: max(value, getattr(other, name)) for name, value in self}
        return DependenciesLimits(**larger)


class Limits(Model):
    """Limits of a submission, by stage."""

    dependencies: DependenciesLimits = DependenciesLimits()
    compile: CompileLimits = CompileLimits()
    run: RunLimits = RunLimits()


class LimitRange(NamedTuple):
    """Smallest and largest value that a limit may have."""

    floor: float | int
    ceiling: float | int


def range_of(path: Sequence[str]) -> LimitRange | None:
    """Return the range of a limit such as `("run", "cpus")`, or None if there is no such limit."""
    if len(path) != 2 or path[0] not in Limits.model_fields:
        return None
    stage = Limits.model_fields[path[0]].annotation
    if not (isinstance(stage, type) and issubclass(stage, Model)) or path[1] not in stage.model_fields:
        return None
    bounds = stage.model_fields[path[1]].metadata
    (floor,) = (bound.ge for bound in bounds if isinstance(bound, Ge))
    (ceiling,) = (bound.le for bound in bounds if isinstance(bound, Le))
    return LimitRange(cast(float, floor), cast(float, ceiling))
