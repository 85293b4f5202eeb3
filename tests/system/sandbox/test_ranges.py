"""Whatever limits a request may name, a program that needs next to nothing runs within them."""

import asyncio
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from tests.system.sandbox.laboratory import Laboratory
from topics.request.ceilings import range_of
from topics.request.limits import CompileLimits, RunLimits

EXAMPLES = int(os.environ.get("LIMITS_EXAMPLES", "25"))


def a_limit(stage: str, name: str) -> st.SearchStrategy[float] | st.SearchStrategy[int]:
    allowed = range_of((stage, name))
    assert allowed is not None
    low, high = allowed
    if name in ("wall_time_s", "cpu_time_s", "cpus"):
        return st.sampled_from([float(low), float(high)]) | st.floats(low, high)
    return st.sampled_from([int(low), int(high)]) | st.integers(int(low), int(high))


def limits_of(stage: str, model: type[RunLimits]) -> st.SearchStrategy[RunLimits]:
    return st.builds(model, **{name: a_limit(stage, name) for name in model.model_fields})


def test_true_runs_within_any_limits(laboratory: Laboratory) -> None:
    async def run(limits: RunLimits) -> Completed:
        async with sandboxes.box({}, limits) as box, box.fork(limits) as fork:
            return await fork.run(Command(["true"]), Rootfs.of_host_tools(), limits)

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(limits=limits_of("run", RunLimits) | limits_of("compile", CompileLimits))
    def check(limits: RunLimits) -> None:
        done = loop.run(run(limits))
        if done.limit_exceeded in ("wall_time_s", "cpu_time_s"):  # the load of others is not the program's
            done = loop.run(run(limits.replace(wall_time_s=30.0, cpu_time_s=30.0)))
        assert (done.exit_code, done.limit_exceeded, done.stderr) == (0, None, b"")

    with asyncio.Runner() as loop:
        sandboxes = Sandboxes(laboratory.settings)
        loop.run(sandboxes.start())
        try:
            check()
        finally:
            loop.run(sandboxes.close())
