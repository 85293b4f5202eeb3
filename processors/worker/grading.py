"""Grading: pure functions from what programs did to the stages and outcome in the answer."""

import base64
from collections.abc import Sequence
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic_core import from_json, to_json

from processors.sandbox import Collected, CollectedFile, Completed
from topics.request.cases import TestCase
from topics.request.output_patterns import OUTPUT_FILE_BYTES
from topics.submissions.stage import CompileStage, Outcome, OutputFile, RunStage

Encoding = Literal["utf8", "base64"]

NOTHING = Collected()
FILES_SHARE = 3 / 4
"""Largest share of the answer for output files, so that the output of later test cases still fits."""
_MEDIA_TYPES = MimeTypes()
"""Python's own types, which are the same on every host; a host's /etc/mime.types is not read."""
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


class AnswerBudget:
    """Bytes of JSON that all output of one submission may take together."""

    def __init__(self, answer_bytes: int) -> None:
        self._left = answer_bytes
        self._left_for_files = int(answer_bytes * FILES_SHARE)

    def compile_stage(self, completed: Completed) -> CompileStage:
        """Return the compile stage for the answer, with its output cut to what is left of the budget."""
        return CompileStage(**self._fields(completed))

    def compiled_before(self, stage: CompileStage) -> CompileStage:
        """Return the cached stage of an earlier submission with the same budget, and count its output."""
        self._left -= _json_bytes(stage.stdout) + _json_bytes(stage.stderr)
        return stage.replace(cached=True)

    def run_stage(self, completed: Completed, case: TestCase, collected: Collected = NOTHING) -> RunStage:
        """Return the stage of one test case, graded before it is cut; its streams take precedence over files.

        Its CPU time includes the worker's search for output files.
        """
        fields = self._fields(completed)
        fields["cpu_time_s"] = round(completed.cpu_time_s + collected.cpu_time_s, 6)
        outputs = tuple(file for found in collected.files if (file := self._output(found)) is not None)
        whole = collected.complete and len(outputs) == len(collected.files)
        whole = whole and all(file.omitted is None for file in outputs)
        truncated = fields.pop("truncated") or not whole
        return RunStage(**fields, truncated=truncated, passed=passed(completed, case), outputs=outputs)

    @property
    def room_bytes(self) -> int:
        """Bytes of output files that still fit into the answer, before they are encoded."""
        return min(self._left, self._left_for_files) // 4 * 3

    def _output(self, found: CollectedFile) -> OutputFile | None:
        """Return the file with its content, or without it, or None, as the budget permits."""
        file = OutputFile(name=found.name, size_bytes=found.size_bytes, media_type=media_type(found.name))
        too_large = found.size_bytes > OUTPUT_FILE_BYTES
        omitted = file.replace(omitted="output_file_bytes" if too_large else "answer_bytes")
        if found.content is None:
            choices = [omitted]
        else:
            choices = [file.replace(content=base64.b64encode(found.content).decode()), omitted]
        for choice in choices:
            size = len(choice.model_dump_json().encode()) + 1  # a comma
            if size <= min(self._left, self._left_for_files):
                self._left -= size
                self._left_for_files -= size
                return choice
        return None

    def _fields(self, completed: Completed) -> dict[str, Any]:
        encoding, (stdout, stderr) = as_texts(completed.stdout, completed.stderr)
        stdout, cut_stdout = self._cut(stdout, encoding)
        stderr, cut_stderr = self._cut(stderr, encoding)
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

    def _cut(self, text: str, encoding: str) -> tuple[str, bool]:
        if _json_bytes(text) <= self._left:
            kept = text
        elif encoding == "base64":  # cut between groups of four; JSON escapes none of these characters
            kept = text[: self._left // 4 * 4]
        else:  # cut the JSON, and drop a character or an escape that is incomplete then
            cut = to_json(text)[: self._left + 1].decode(errors="ignore")
            kept = from_json(cut, allow_partial="trailing-strings")
        self._left -= _json_bytes(kept)
        return kept, len(kept) < len(text)


def _json_bytes(text: str) -> int:
    """Return the length of a text as JSON, without the quotes."""
    return len(to_json(text)) - 2


def as_texts(*outputs: bytes) -> tuple[Encoding, list[str]]:
    """Return the encoding and texts of outputs: UTF-8 if valid and at most doubled by JSON, else base64."""
    try:
        texts = [output.decode() for output in outputs]
    except UnicodeDecodeError:
        pass
    else:
        if len(to_json(texts)) <= 2 * sum(map(len, outputs)) + 16:
            return "utf8", texts
    return "base64", [base64.b64encode(output).decode() for output in outputs]


def media_type(name: str) -> str:
    """Return the media type of a file by its name, `application/octet-stream` if it is unknown."""
    # The slash keeps a colon from being read as a URL scheme.
    known, compression = _MEDIA_TYPES.guess_type("/" + PurePosixPath(name).name)
    if compression is not None:
        return _COMPRESSED.get(compression, "application/octet-stream")
    return known or "application/octet-stream"


def passed(completed: Completed, case: TestCase) -> bool | None:
    """Return whether the run succeeded with the expected output; None if the test case expects none."""
    if case.expected_output is None:
        return None
    same = _normalize_lines(completed.stdout) == _normalize_lines(case.expected_output.encode())
    return completed.exit_code == 0 and completed.limit_exceeded is None and same


def _normalize_lines(output: bytes) -> list[bytes]:
    """Return the lines that are compared, without white space at the ends of lines and of the output."""
    return [line.rstrip() for line in output.rstrip().split(b"\n")]


def outcome_of(runs: Sequence[RunStage]) -> Outcome:
    """Return the outcome of all runs; a failed run takes precedence over a wrong output."""
    if not all(run.ok for run in runs):
        return "run_failed"
    return "wrong_output" if any(run.passed is False for run in runs) else "ok"
