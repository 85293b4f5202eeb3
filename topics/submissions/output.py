"""What programs print while they still run (`submissions.output`), keyed by the submission's id.

A preview: pieces may be missing, and no fold reads it. What holds is the answer.
"""

from typing import Literal

from topics.model import Model

OUTPUT = "envicutor.submission.output.v1"
"""CloudEvents type of a piece."""


class OutputChunk(Model):
    """A piece of what one program printed on one of its streams."""

    attempt: int
    worker: str
    """Two workers may run the same attempt; each numbers its own pieces."""
    stage: Literal["compile", "run"]
    case: int | None = None
    """Index of the test case, from 0; None while compiling."""
    stream: Literal["stdout", "stderr"]
    sequence: int
    """Number of the piece within the worker's attempt, from 0; a gap means that pieces are missing."""
    offset_bytes: int
    """How many bytes of this stream, of this stage, came before it."""
    text: str
    encoding: Literal["utf8", "base64"] = "utf8"
    """Of `text`: base64 where bytes are not UTF-8, or escaping would double them."""
