"""Answers as text for people and as exit codes."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from envicutor_client.content import readable
from envicutor_client.models import (
    Answer,
    CompileStage,
    DependenciesStage,
    OutputFile,
    RunStage,
    StageResult,
)

EXIT_CODES = {
    "ok": 0,
    "run_failed": 1,
    "wrong_output": 1,
    "compile_failed": 3,
    "dependencies_failed": 4,
    "internal_error": 5,
    "cancelled": 6,
    "rejected": 6,
}
"""Exit code by outcome, or by status if there is no outcome."""

_WHOLE_VERDICTS = {"accepted", "wrong_output", "not_run", "checker_error"}
"""Verdicts beside which exit code and limit explain nothing."""
_KEPT = {"\n", "\t"}


def exit_code(answer: Answer) -> int:
    """Return the exit code of a command that shows an answer; an outcome of a later server is an error."""
    return EXIT_CODES.get(outcome_or_status(answer), EXIT_CODES["internal_error"])


def outcome_or_status(answer: Answer) -> str:
    """Return the outcome of an answer, or its status if there is no outcome."""
    return answer.outcome or answer.status


def print_answer(answer: Answer, console: Console) -> None:
    """Print the outcome, and the result, output and cost of each stage."""
    for text in _answer(answer):
        console.print(text, soft_wrap=True)


def _answer(answer: Answer) -> Iterator[Text]:
    good = answer.outcome == "ok"
    style = "bold green" if good else "bold red"
    yield Text.assemble((outcome_or_status(answer), style), f"  {answer.id}{score_of(answer)}")
    if answer.error:
        yield _indented("error", answer.error)
    for error in answer.errors:
        yield _indented(error.field or "request", error.message)
    if answer.dependencies:
        yield from _dependencies(answer.dependencies)
    if answer.compile:
        yield from _stage("compile", answer.compile)
    for number, run in enumerate(answer.run, 1):
        yield from _stage("run" if len(answer.run) == 1 else f"run {number}", run)


def _dependencies(stage: DependenciesStage) -> Iterator[Text]:
    what = "failed" if stage.explanation else "cached" if stage.cached else "installed"
    yield Text.assemble(("dependencies", "bold"), f"  {what}, waited {stage.wall_time_s:.2f} s")
    if stage.explanation:
        yield _indented("why", stage.explanation)
    if stage.log:
        yield _indented("log", stage.log)


def _stage(name: str, stage: StageResult) -> Iterator[Text]:
    yield Text.assemble(
        (name, "bold"), "  ", (how_it_ended(stage), "green" if _good(stage) else "red"), cost(stage)
    )
    if isinstance(stage, RunStage) and stage.hidden:
        yield Text("  (hidden: this API key may not read what it printed)")
    if isinstance(stage, CompileStage) and stage.cached:
        yield Text("  (cached: compiled before, for another submission)")
    for stream, output in (("stdout", stage.stdout), ("stderr", stage.stderr)):
        if output:
            yield _indented(stream, readable(output, stage.encoding))
    if isinstance(stage, RunStage) and stage.checker:
        for output in (stage.checker.stdout, stage.checker.stderr):
            if output:
                yield _indented("checker", readable(output, stage.checker.encoding))
    if isinstance(stage, RunStage) and stage.outputs:
        yield _indented("outputs", "\n".join(map(about_output, stage.outputs)))
    if stage.truncated:
        yield Text("  (output is missing: it was too much)", "yellow")


def failures(answer: Answer) -> Iterator[str]:
    """Yield a line for each reason for which a submission failed, such as `run 2: time_limit, SIGKILL, …`.

    Cases that did not run have no line.
    """
    for error in answer.errors:
        yield printable(str(error))
    if answer.dependencies and answer.dependencies.explanation:
        yield printable(f"dependencies: {answer.dependencies.explanation}")
        if answer.dependencies.log:
            yield printable(f"dependencies: {answer.dependencies.log}".rstrip())
    if answer.compile and not _good(answer.compile):
        yield f"compile: {how_it_ended(answer.compile)}"
    for number, run in enumerate(answer.run, 1):
        if not _good(run) and run.verdict != "not_run":
            name = "run" if len(answer.run) == 1 else f"run {number}"
            yield f"{name}: {how_it_ended(run)}"


def about_output(file: OutputFile) -> str:
    """Return name, type and size of an output file, and the reason if it has no content."""
    # The program chose the name, which must stay on one line.
    name = printable(file.name).replace("\n", "\\n")
    left_out = f", left out: too large for {file.omitted}" if file.omitted else ""
    return f"{name}  {file.media_type}, {file.size_bytes} bytes{left_out}"


def how_it_ended(stage: StageResult) -> str:
    """Return how a stage ended: `accepted`, `exit code 1`, `memory_limit, SIGKILL, over memory_bytes`."""
    verdict = stage.verdict if isinstance(stage, RunStage) else None
    if verdict in _WHOLE_VERDICTS:
        return str(verdict)
    if verdict is None and stage.ok and isinstance(stage, RunStage) and stage.passed is not None:
        return "passed" if stage.passed else "wrong output"  # a submission of a version without verdicts
    ended = stage.signal or f"exit code {stage.exit_code}"
    over = f"over {stage.limit_exceeded}" if stage.limit_exceeded else None
    return ", ".join(filter(None, (verdict, ended, over)))


def score_of(scored: Answer | RunStage) -> str:
    """Return the score of an answer or a test case, such as `  score 2.5`; empty if it has none."""
    return "" if scored.score is None else f"  score {scored.score:g}"


def cost(stage: StageResult) -> str:
    """Return score, wall time in s, CPU time in s and peak memory in MiB of a stage."""
    score = score_of(stage) if isinstance(stage, RunStage) else ""
    memory_mib = stage.memory_bytes / (1 << 20)
    return f"{score}  {stage.wall_time_s:.3f} s, CPU {stage.cpu_time_s:.3f} s, {memory_mib:.1f} MiB"


def printable(text: str) -> str:
    """Return untrusted text with control characters escaped, so that it cannot control the terminal."""
    return "".join(c if c.isprintable() or c in _KEPT else ascii(c)[1:-1] for c in text)


def _good(stage: StageResult) -> bool:
    verdict = stage.verdict if isinstance(stage, RunStage) else None
    if verdict is not None:
        return verdict == "accepted"
    return stage.ok and getattr(stage, "passed", None) is not False


def _indented(name: str, text: str) -> Text:
    lines = printable(text).removesuffix("\n").replace("\n", "\n    ")
    return Text.assemble((f"  {name}\n", "dim"), f"    {lines}")
