"""One submission as the worker runs it: its request, its environment, and what its programs may wait for."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from processors.sandbox import Rootfs
from processors.worker.live_output import AttemptOutput
from topics.submissions.stage import CompileStage
from topics.submissions.state import Work


class Job(NamedTuple):
    """A submission with the environment that its programs run in."""

    work: Work
    rootfs: Rootfs
    variables: Mapping[str, str]
    """Environment variables of the environment, which those of the request override."""
    may_run: Callable[[], Awaitable[None]]
    """Function that waits until programs may start."""
    on_compiled: Callable[[CompileStage], None]
    output: AttemptOutput

    @property
    def env(self) -> dict[str, str]:
        """Environment variables of the program; a checker has `variables` alone."""
        return {**self.variables, **self.work.request.env}


def argv_of(program: str | tuple[str, ...], name: str, args: Sequence[str] = ()) -> list[str]:
    """Return the command of a program: bash for a script, with `args` as `"$@"`; else argv and `args`."""
    if isinstance(program, str):
        return ["/bin/bash", "-c", program, name, *args]
    return [*program, *args]
