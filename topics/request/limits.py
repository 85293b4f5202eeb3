"""Limits of a stage: names, units, floors and defaults, as in the table of docs/architecture.md.

A field's default applies if a request does not set it. A value below its floor is refused, since not even
`true` runs reliably with it. `topics.request.ceilings` has the highest values that requests may set. They are
no bounds of these models: what an operator once allowed stays readable. The resolved limits are written into
Requested, so later changes of this table never change the past. The package `processors.sandbox` enforces
them.
"""

from typing import Annotated

from pydantic import Field

from topics.model import Model

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB

STACK_BYTES = 8 * MiB
"""Stack of a program whose request does not set it: the default of Linux."""

PrintedBytes = Annotated[int, Field(ge=1)]
TimeS = Annotated[float, Field(ge=0.1)]
BuildTimeS = Annotated[float, Field(ge=1)]
MemoryBytes = Annotated[int, Field(ge=4 * MiB)]
BuildMemoryBytes = Annotated[int, Field(ge=64 * MiB)]
Processes = Annotated[int, Field(ge=1)]
FileSizeBytes = Annotated[int, Field(ge=1)]
OpenFiles = Annotated[int, Field(ge=8)]
BoxBytes = Annotated[int, Field(ge=4 * KiB)]
BoxFiles = Annotated[int, Field(ge=1)]
Cpus = Annotated[float, Field(ge=0.1)]
# It is left out if it is the default, so that events of versions without it are folded to the same bytes.
StackBytes = Annotated[int, Field(ge=64 * KiB, exclude_if=lambda stack_bytes: stack_bytes == STACK_BYTES)]


class OutputLimits(Model):
    """Bounds on the output of a stage, which is killed beyond them; the output up to the bound is kept."""

    stdout_bytes: PrintedBytes = 1 * MiB
    """Bytes of standard output; the stage is killed beyond them."""
    stderr_bytes: PrintedBytes = 1 * MiB
    """Bytes of standard error; the stage is killed beyond them."""


class RunLimits(OutputLimits):
    """Limits of one test case."""

    wall_time_s: TimeS = 10.0
    """Wall time in seconds. On a busy host it exceeds the CPU time by far, so `cpu_time_s` is the fair limit
    for a contest, and this one a bound on sleeping."""
    cpu_time_s: TimeS = 10.0
    """CPU time in seconds of all processes of the stage together."""
    memory_bytes: MemoryBytes = 256 * MiB
    """Memory in bytes of all processes of the stage and of its tmpfs mounts; there is no swap."""
    processes: Processes = 64
    """Processes and threads at a time; beyond it fork and clone fail with EAGAIN."""
    file_size_bytes: FileSizeBytes = 32 * MiB
    """Size in bytes of the largest single file; a write beyond it raises SIGXFSZ."""
    open_files: OpenFiles = 256
    """Open file descriptors of one process; beyond it opening fails with EMFILE."""
    box_bytes: BoxBytes = 64 * MiB
    """Size in bytes of the writable /box; beyond it writes fail with ENOSPC."""
    box_files: BoxFiles = 4096
    """Files and folders in /box; beyond it creating one fails with ENOSPC."""
    cpus: Cpus = 1.0
    """Processors that the stage may use at a time, on average over 0.1 s; 0.5 is half of one."""
    stack_bytes: StackBytes = STACK_BYTES
    """Size in bytes of the stack of the main thread; deeper recursion raises SIGSEGV. Its pages count as
    memory."""


class CompileLimits(RunLimits):
    """Limits of the compile stage."""

    wall_time_s: TimeS = 60.0
    """Wall time in seconds."""
    cpu_time_s: TimeS = 60.0
    """CPU time in seconds of all processes of the stage together."""
    memory_bytes: MemoryBytes = 1 * GiB
    """Memory in bytes of all processes of the stage and of its tmpfs mounts; there is no swap."""
    processes: Processes = 128
    """Processes and threads at a time; beyond it fork and clone fail with EAGAIN."""
    file_size_bytes: FileSizeBytes = 128 * MiB
    """Size in bytes of the largest single file; a write beyond it raises SIGXFSZ."""
    box_bytes: BoxBytes = 256 * MiB
    """Size in bytes of the writable /box; beyond it writes fail with ENOSPC."""
    box_files: BoxFiles = 16384
    """Files and folders in /box; beyond it creating one fails with ENOSPC."""


class DependenciesLimits(OutputLimits):
    """Limits of evaluating and building a set of dependencies."""

    wall_time_s: BuildTimeS = 300.0
    """Wall time in seconds of evaluation and build together."""
    memory_bytes: BuildMemoryBytes = 2 * GiB
    """Memory in bytes of all processes of the evaluation or the build."""

    def joined(self, other: "DependenciesLimits") -> "DependenciesLimits":
        """Return the larger value of each limit."""
        larger = {name: max(value, getattr(other, name)) for name, value in self}
        return DependenciesLimits(**larger)


class Limits(Model):
    """Limits of a submission, by stage."""

    dependencies: DependenciesLimits = DependenciesLimits()
    """Limits of installing the dependencies, unless they are installed already."""
    compile: CompileLimits = CompileLimits()
    """Limits of the compile stage, if the request has one."""
    run: RunLimits = RunLimits()
    """Limits of the run of each test case."""
