"""The budget of an answer: pure functions from what programs did to stages that fit into it."""

import base64
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from typing import Any

from pydantic_core import to_json

from processors.sandbox import Collected, CollectedFile, Completed
from processors.worker.grading import Grade
from topics.request.output_patterns import OUTPUT_FILE_BYTES
from topics.submissions.shortening import cut, text_bytes
from topics.submissions.stage import CheckerStage, CompileStage, OutputEncoding, OutputFile, RunStage

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
        self._left -= text_bytes(stage.stdout) + text_bytes(stage.stderr)
        return stage.replace(cached=True)

    def run_stage(
        self,
        completed: Completed,
        grade: Grade,
        collected: Collected = NOTHING,
        checked: Completed | None = None,
    ) -> RunStage:
        """Return the stage of one test case, with `checked`, the run of its checker.

        Its streams take precedence over those of the checker, and these over files. Its CPU time includes the
        worker's search for output files.
        """
        fields = self._fields(completed)
        checker = CheckerStage(**self._fields(checked)) if checked else None
        fields["cpu_time_s"] = round(completed.cpu_time_s + collected.cpu_time_s, 6)
        outputs = tuple(file for found in collected.files if (file := self._output(found)) is not None)
        whole = collected.complete and len(outputs) == len(collected.files)
        whole = whole and all(file.omitted is None for file in outputs)
        truncated = fields.pop("truncated") or not whole
        return RunStage(**fields, truncated=truncated, checker=checker, outputs=outputs, **grade._asdict())

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
        kept = cut(text, encoding, self._left)
        self._left -= text_bytes(kept)
        return kept, len(kept) < len(text)


def as_texts(*outputs: bytes) -> tuple[OutputEncoding, list[str]]:
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
