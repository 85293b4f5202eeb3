"""Ceilings: the highest limits that requests may set, by stage; those of the system, and lower ones of a key.

They are applied once, before a request is on the log. A limit that the request sets above its ceiling is
refused. A limit that it does not set becomes the ceiling if its default is higher.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar, cast

from annotated_types import Ge
from pydantic import model_validator

from topics.model import Model
from topics.request.errors import FieldError
from topics.request.limits import (
    BoxBytes,
    BoxFiles,
    BuildMemoryBytes,
    BuildTimeS,
    CompileLimits,
    Cpus,
    DependenciesLimits,
    FileSizeBytes,
    GiB,
    Limits,
    MemoryBytes,
    MiB,
    OpenFiles,
    OutputLimits,
    PrintedBytes,
    Processes,
    RunLimits,
    StackBytes,
    TimeS,
)
from topics.request.model import SubmissionRequest

_LARGEST = 2**53
"""Largest ceiling: JSON's readers keep integers exactly up to it."""
_LARGEST_OF = {"open_files": 1 << 20, "processes": 1 << 22}
"""Largest values that the kernel accepts (fs.nr_open, PID_MAX_LIMIT), if they are less."""

_STAGES = {
    ("limits", "dependencies"): "dependencies",
    ("limits", "compile"): "compile",
    ("limits", "run"): "run",
    ("comparison", "compile_limits"): "compile",
    ("comparison", "limits"): "run",
}
"""Stage whose ceilings hold, by the path of limits in a request."""


class RunCeilings(RunLimits):
    """Highest limits of one test case, and of one run of a checker."""

    stdout_bytes: PrintedBytes = 4 * MiB
    stderr_bytes: PrintedBytes = 4 * MiB
    wall_time_s: TimeS = 60.0
    cpu_time_s: TimeS = 60.0
    memory_bytes: MemoryBytes = 2 * GiB
    processes: Processes = 512
    file_size_bytes: FileSizeBytes = 256 * MiB
    open_files: OpenFiles = 4096
    box_bytes: BoxBytes = 512 * MiB
    box_files: BoxFiles = 65536
    cpus: Cpus = 2.0
    stack_bytes: StackBytes = 2 * GiB


class CompileCeilings(CompileLimits):
    """Highest limits of compiling a program or a checker."""

    stdout_bytes: PrintedBytes = 4 * MiB
    stderr_bytes: PrintedBytes = 4 * MiB
    wall_time_s: TimeS = 300.0
    cpu_time_s: TimeS = 300.0
    memory_bytes: MemoryBytes = 4 * GiB
    processes: Processes = 512
    file_size_bytes: FileSizeBytes = 512 * MiB
    open_files: OpenFiles = 4096
    box_bytes: BoxBytes = 1 * GiB
    box_files: BoxFiles = 65536
    cpus: Cpus = 2.0
    stack_bytes: StackBytes = 2 * GiB


class DependenciesCeilings(DependenciesLimits):
    """Highest limits of evaluating and building dependencies."""

    stdout_bytes: PrintedBytes = 4 * MiB
    stderr_bytes: PrintedBytes = 4 * MiB
    wall_time_s: BuildTimeS = 900.0
    memory_bytes: BuildMemoryBytes = 4 * GiB


class Ceilings(Model):
    """Highest limits that requests may set, by stage."""

    dependencies: DependenciesCeilings = DependenciesCeilings()
    compile: CompileCeilings = CompileCeilings()
    run: RunCeilings = RunCeilings()

    @model_validator(mode="after")
    def _within_the_kernel(self) -> Self:
        for stage, ceilings in self:
            for name, value in ceilings:
                if value > (largest := _LARGEST_OF.get(name, _LARGEST)):
                    raise ValueError(f"{stage}.{name}: must be at most {largest}, not {value}")
        return self

    def lowered_by(self, of_key: Mapping[str, float]) -> "Ceilings":
        """Return the lower ceiling of each limit. `of_key` has those of an API key, as `Quotas` does.

        No ceiling is below the floor of its limit, since no role can read a request with such a limit.
        """
        changes = {}
        for stage, ceilings in self:
            lower = {
                name: type(value)(max(_floor(ceilings, name), of_key[path]))  # JSON may have 5 for 5.0
                for name, value in ceilings
                if (path := f"{stage}.{name}") in of_key and of_key[path] < value
            }
            changes[stage] = ceilings.replace(**lower)
        return self.replace(**changes) if of_key else self


DEFAULT_CEILINGS = Ceilings()


class LimitRange(NamedTuple):
    """Smallest and largest value that a limit may have."""

    floor: float | int
    ceiling: float | int


def range_of(path: Sequence[str], ceilings: Ceilings = DEFAULT_CEILINGS) -> LimitRange | None:
    """Return the range of a limit such as `("run", "cpus")`, or None if there is no such limit."""
    if len(path) != 2 or path[0] not in Limits.model_fields:
        return None
    stage = getattr(ceilings, path[0])
    if path[1] not in type(stage).model_fields:
        return None
    return LimitRange(_floor(stage, path[1]), getattr(stage, path[1]))


def _floor(stage: OutputLimits, name: str) -> float:
    (floor,) = (bound.ge for bound in type(stage).model_fields[name].metadata if isinstance(bound, Ge))
    return cast(float, floor)


def range_at(location: Sequence[str], ceilings: Ceilings = DEFAULT_CEILINGS) -> LimitRange | None:
    """Return the range of a limit by its path in a request, such as `limits.run.cpus`, or None."""
    stage = _STAGES.get((location[0], location[1])) if len(location) == 3 else None
    return range_of((stage, location[2]), ceilings) if stage else None


def above(body: Any, ceilings: Ceilings, of_key: Mapping[str, float]) -> Iterator[FieldError]:
    """Yield an error for each limit that a request, as parsed JSON, sets above its ceiling."""
    effective = ceilings.lowered_by(of_key)
    for (field, part), stage in _STAGES.items():
        limits = _member(_member(body, field), part)
        for name in limits if isinstance(limits, dict) else ():
            allowed, value = range_of((stage, name), effective), limits[name]
            if allowed and type(value) in {int, float} and value > allowed.ceiling:
                of_system = getattr(getattr(ceilings, stage), name)
                whose = " with this API key" if allowed.ceiling < of_system else ""
                yield out_of_range(f"{field}.{part}.{name}", allowed, allowed.ceiling, "must be", whose)


def out_of_range(field: str, allowed: LimitRange, limit: float, wrong: str, whose: str = "") -> FieldError:
    """Return the error of a limit that has no value in its range; `limit` is the end that it violates."""
    message = f"{wrong} at least {_plain(allowed.floor)} and at most {_plain(allowed.ceiling)}{whose}"
    return FieldError(field=field, message=message, limit=_plain(limit))


def _plain(value: float) -> float | int:
    return int(value) if value == int(value) else value


def add_maxima(definitions: dict[str, Any], ceilings: Ceilings) -> None:
    """Add the ceilings to the definitions of the models of limits in a JSON Schema of requests."""
    for stage, of_stage in ceilings:
        model = Limits.model_fields[stage].annotation
        assert model is not None
        properties = definitions[model.__name__]["properties"]
        for name, ceiling in of_stage:
            properties[name] = dict(sorted((properties[name] | {"maximum": _plain(ceiling)}).items()))


def within(request: SubmissionRequest, ceilings: Ceilings) -> SubmissionRequest:
    """Return the request with no limit above its ceiling."""
    limits = {stage: _capped(of_stage, getattr(ceilings, stage)) for stage, of_stage in request.limits}
    if any(limits[stage] is not of_stage for stage, of_stage in request.limits):
        request = request.replace(limits=Limits(**limits))
    if checker := request.checker:
        compiled, run = (
            _capped(checker.compile_limits, ceilings.compile),
            _capped(checker.limits, ceilings.run),
        )
        if (compiled, run) != (checker.compile_limits, checker.limits):
            return request.replace(comparison=checker.replace(compile_limits=compiled, limits=run))
    return request


_Limits = TypeVar("_Limits", bound=OutputLimits)


def _capped(limits: _Limits, ceilings: OutputLimits) -> _Limits:
    lower = {name: most for name, value in limits if value > (most := getattr(ceilings, name))}
    return limits.replace(**lower) if lower else limits


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
