"""Shortening of answers to a number of bytes, for bodies of webhooks. Pure."""

from collections.abc import Iterator
from typing import TypeVar

from pydantic_core import from_json, to_json

from topics.request.limits import KiB
from topics.submissions.stage import RunStage, StageResult
from topics.submissions.state import Answer

StageT = TypeVar("StageT", bound=StageResult)

_ERROR_BYTES = 64 * KiB
"""Bytes of `error` that are kept."""


def without_contents(answer: Answer) -> Answer:
    """Return the answer with names and sizes of output files, and without their contents."""
    return answer.replace(
        run=tuple(
            stage.replace(outputs=tuple(file.replace(content=None) for file in stage.outputs))
            for stage in answer.run
        )
    )


def shortened(answer: Answer, most_bytes: int) -> Answer:
    """Return the answer with streams cut so that its JSON has at most `most_bytes`, if these are enough.

    Short streams stay whole, and all others are cut to one length. If there is no room for the names of
    output files, these are left out. Each stage that lacks anything has `truncated` true.
    """
    if _json_bytes(answer) <= most_bytes:
        return answer
    answer = answer.replace(error=answer.error and cut(answer.error, "utf8", _ERROR_BYTES))
    lengths = list(_lengths(answer))
    rest = most_bytes - len(lengths)  # `false` may become `true`, or `true` `false`
    if _json_bytes(_with_streams(answer, 0)) > rest:
        answer = answer.replace(run=tuple(map(_without_outputs, answer.run)))
    rest -= _json_bytes(_with_streams(answer, 0))
    return _with_streams(answer, _common_length(lengths, rest))


def text_bytes(text: str) -> int:
    """Return the length of a text as JSON, without the quotes."""
    return len(to_json(text)) - 2


def cut(text: str, encoding: str, most_bytes: int) -> str:
    """Return the beginning of a text that has at most `most_bytes` as JSON, without the quotes."""
    if text_bytes(text) <= most_bytes:
        return text
    if encoding == "base64":  # cut between groups of four; JSON escapes none of these characters
        return text[: most_bytes // 4 * 4]
    # Cut the JSON, and drop a character or an escape that is incomplete then.
    beginning = to_json(text)[: most_bytes + 1].decode(errors="ignore")
    kept: str = from_json(beginning, allow_partial="trailing-strings")
    return kept


def _common_length(lengths: list[int], room: int) -> int:
    """Return the length to which texts are cut so that all have room together."""
    left = room
    for done, length in enumerate(sorted(lengths)):
        share = max(0, left // (len(lengths) - done))
        if length > share:
            return share
        left -= length
    return room


def _lengths(answer: Answer) -> Iterator[int]:
    for stage in _stages(answer):
        yield text_bytes(stage.stdout)
        yield text_bytes(stage.stderr)


def _stages(answer: Answer) -> Iterator[StageResult]:
    if answer.compile:
        yield answer.compile
    for stage in answer.run:
        yield stage
        if stage.checker:
            yield stage.checker


def _with_streams(answer: Answer, most_bytes: int) -> Answer:
    """Return the answer with each stream cut to `most_bytes`."""
    return answer.replace(
        compile=answer.compile and _cut_stage(answer.compile, most_bytes),
        run=tuple(
            _cut_stage(stage, most_bytes).replace(
                checker=stage.checker and _cut_stage(stage.checker, most_bytes)
            )
            for stage in answer.run
        ),
    )


def _cut_stage(stage: StageT, most_bytes: int) -> StageT:
    stdout, stderr = (cut(text, stage.encoding, most_bytes) for text in (stage.stdout, stage.stderr))
    lacks = len(stdout) < len(stage.stdout) or len(stderr) < len(stage.stderr)
    return stage.replace(stdout=stdout, stderr=stderr, truncated=stage.truncated or lacks)


def _without_outputs(stage: RunStage) -> RunStage:
    return stage.replace(outputs=(), truncated=True) if stage.outputs else stage


def _json_bytes(answer: Answer) -> int:
    return len(answer.model_dump_json().encode())
