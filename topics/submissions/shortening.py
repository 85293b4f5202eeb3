"""Shortening of answers to a number of bytes, for bodies of webhooks. Pure."""

from collections.abc import Callable, Iterator

from pydantic_core import from_json, to_json

from topics.request.limits import KiB
from topics.submissions.stage import RunStage, StageResult
from topics.submissions.state import Answer

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
    streams = [_json(text) for stage in _stages(answer) for text in (stage.stdout, stage.stderr)]
    lengths = list(map(len, streams))
    if _bytes_besides(answer) + sum(lengths) <= most_bytes:
        return answer
    answer = answer.replace(error=answer.error and cut(answer.error, "utf8", _ERROR_BYTES))
    if _bytes_besides(answer) > most_bytes:
        answer = answer.replace(run=tuple(map(_without_outputs, answer.run)))
    length, remaining = _common_length(lengths, most_bytes - _bytes_besides(answer)), iter(streams)
    return _with_stages(answer, lambda stage: _cut_stage(stage, next(remaining), next(remaining), length))


def text_bytes(text: str) -> int:
    """Return the length of a text as JSON, without the quotes."""
    return len(_json(text))


def _json(text: str) -> bytes:
    return to_json(text)[1:-1]


def cut(text: str, encoding: str, most_bytes: int) -> str:
    """Return the beginning of a text that has at most `most_bytes` as JSON, without the quotes."""
    return _cut(text, _json(text), encoding, most_bytes)


def _cut(text: str, as_json: bytes, encoding: str, most_bytes: int) -> str:
    if len(as_json) <= most_bytes:
        return text
    if encoding == "base64":  # cut between groups of four; JSON escapes none of these characters
        return text[: most_bytes // 4 * 4]
    # Cut the JSON, and drop a character or an escape that is incomplete then.
    beginning = as_json[:most_bytes].decode(errors="ignore")
    kept: str = from_json(f'"{beginning}', allow_partial="trailing-strings")
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


def _stages(answer: Answer) -> Iterator[StageResult]:
    if answer.compile:
        yield answer.compile
    for stage in answer.run:
        yield stage
        if stage.checker:
            yield stage.checker


def _with_stages(answer: Answer, change: Callable[[StageResult], StageResult]) -> Answer:
    """Return the answer with each stage changed, in the order of `_stages`."""
    return answer.replace(
        compile=answer.compile and change(answer.compile),
        run=tuple(
            change(stage).replace(checker=stage.checker and change(stage.checker)) for stage in answer.run
        ),
    )


def _cut_stage(stage: StageResult, stdout_json: bytes, stderr_json: bytes, most_bytes: int) -> StageResult:
    stdout = _cut(stage.stdout, stdout_json, stage.encoding, most_bytes)
    stderr = _cut(stage.stderr, stderr_json, stage.encoding, most_bytes)
    lacks = len(stdout) < len(stage.stdout) or len(stderr) < len(stage.stderr)
    return stage.replace(stdout=stdout, stderr=stderr, truncated=stage.truncated or lacks)


def _without_outputs(stage: RunStage) -> RunStage:
    return stage.replace(outputs=(), truncated=True) if stage.outputs else stage


def _bytes_besides(answer: Answer) -> int:
    """Return the length as JSON without the streams, which are long: each is serialized once."""
    bare = _with_stages(answer, lambda stage: stage.replace(stdout="", stderr=""))
    return len(bare.model_dump_json().encode())
