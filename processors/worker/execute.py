"""One submission in the sandbox: compile once, then each test case on the compiled box as it was."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from processors.sandbox import Box, Command, Rootfs, Sandboxes
from processors.worker.verdict import AnswerBudget, outcome_of
from topics.request import SubmissionRequest
from topics.stage import Outcome, RunStage, Stage


class Executed(NamedTuple):
    """What came of it."""

    outcome: Outcome
    compile: Stage | None
    run: tuple[RunStage, ...]


async def execute(
    sandboxes: Sandboxes,
    rootfs: Rootfs,
    variables: Mapping[str, str],
    request: SubmissionRequest,
    answer_bytes: int,
    on_compiled: Callable[[Stage], None],
) -> Executed:
    """Run `request` on `rootfs`; `variables` are the environment's, overridden by the request's.

    Raises:
        SandboxError: a sandbox could not be set up; another host may do better.
    """
    budget = AnswerBudget(answer_bytes)
    env = {**variables, **request.env}
    files = {file.name: file.data() for file in request.files}
    async with sandboxes.box(
        files, request.limits.compile if request.compiler else request.limits.run
    ) as box:
        compiled = None
        if request.compiler:
            command = Command(_argv(request.compiler, "compile", ()), env)
            compiled = budget.stage(await box.run(command, rootfs, request.limits.compile))
            if not compiled.ok:
                return Executed("compile_failed", compiled, ())
            on_compiled(compiled)
        runs = await _run_cases(box, rootfs, env, request, budget)
        return Executed(outcome_of(runs), compiled, runs)


async def _run_cases(
    box: Box, rootfs: Rootfs, env: Mapping[str, str], request: SubmissionRequest, budget: AnswerBudget
) -> tuple[RunStage, ...]:
    assert request.program
    limits = request.limits.run
    runs = []
    for case in request.cases:
        command = Command(_argv(request.program, "run", case.args), env, case.input.encode())
        async with box.fork(limits) as own:
            runs.append(budget.run_stage(await own.run(command, rootfs, limits), case))
    return tuple(runs)


def _argv(program: str | tuple[str, ...], name: str, args: Sequence[str]) -> list[str]:
    """A script is run by bash, with the arguments as `"$@"`; an argv as it is, with them appended."""
    if isinstance(program, str):
        return ["/bin/bash", "-c", program, name, *args]
    return [*program, *args]
