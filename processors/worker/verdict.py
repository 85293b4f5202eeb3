"""From what programs did to what clients are told; pure."""

import base64
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json

from processors.sandbox import Completed
from topics.request import TestCase
from topics.stage import Outcome, RunStage, Stage


class AnswerBudget:
    """The bytes that all output of one submission may take, as JSON, together."""

    def __init__(self, answer_bytes: int) -> None:
        self._left = answer_bytes

    def stage(self, completed: Completed) -> Stage:
        """The stage as clients see it, cut to what is left of the budget."""
        return Stage(**self._fields(completed))

    def run_stage(self, completed: Completed, case: TestCase) -> RunStage:
        """The stage of one test case, judged before it is cut."""
        return RunStage(**self._fields(completed), passed=passed(completed, case))

    def _fields(self, completed: Completed) -> dict[str, Any]:
        encoding, stdout, stderr = _texts(completed.stdout, completed.stderr)
        stdout, cut_stdout = self._take(stdout, encoding)
        stderr, cut_stderr = self._take(stderr, encoding)
        return {
            "stdout": stdout,
            "stderr": stderr,
            "encoding": encoding,
            "exit_code": completed.exit_code,
            "signal": completed.signal,
            "wall_time_s": round(completed.wall_time_s, 6),
            "cpu_time_s": round(completed.cpu_time_s, 6),
            "memory_bytes": completed.memory_bytes,
            "limit_exceeded": completed.limit_exceeded,
            "truncated": completed.truncated or cut_stdout or cut_stderr,
        }

    def _take(self, text: str, encoding: str) -> tuple[str, bool]:
        if _json_bytes(text) <= self._left:
            kept = text
        elif encoding == "base64":  # cut in whole groups, which nothing in JSON escapes
            kept = text[: self._left // 4 * 4]
        else:  # cut the JSON, and leave out a character or an escape that the cut goes through
            cut = to_json(text)[: self._left + 1].decode(errors="ignore")
            kept = from_json(cut, allow_partial="trailing-strings")
        self._left -= _json_bytes(kept)
        return kept, len(kept) < len(text)


def _json_bytes(text: str) -> int:
    """As JSON, without the quotes around it."""
    return len(to_json(text)) - 2


def _texts(stdout: bytes, stderr: bytes) -> tuple[str, str, str]:
    """Encoding and both outputs: text where it is UTF-8 that JSON does not double."""
    try:
        texts = stdout.decode(), stderr.decode()
    except UnicodeDecodeError:
        pass
    else:
        if len(to_json(texts)) <= 2 * (len(stdout) + len(stderr)) + 16:
            return ("utf8", *texts)
    return "base64", base64.b64encode(stdout).decode(), base64.b64encode(stderr).decode()


def passed(completed: Completed, case: TestCase) -> bool | None:
    """Whether the output is the expected one, as judges compare; None where none was given."""
    if case.expected_output is None:
        return None
    same = _judged(completed.stdout) == _judged(case.expected_output.encode())
    return completed.exit_code == 0 and completed.limit_exceeded is None and same


def _judged(output: bytes) -> list[bytes]:
    """Lines without the white space that does not count: at line ends and at the end."""
    return [line.rstrip() for line in output.rstrip().split(b"\n")]


def outcome_of(runs: Sequence[RunStage]) -> Outcome:
    """A failed run outranks a wrong output."""
    if not all(run.ok for run in runs):
        return "run_failed"
    return "wrong_output" if any(run.passed is False for run in runs) else "ok"
