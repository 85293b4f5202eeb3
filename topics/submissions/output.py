"""Output of programs that still run (`submissions.output`), keyed by the submission's id.

It is a preview: pieces may be missing, and no fold reads it. The answer holds the complete output.
"""

from typing import Literal

from topics.model import Model
from topics.submissions.stage import OutputEncoding

OUTPUT = "envicutor.submission.output.v1"
"""CloudEvents type of a piece of live output."""


class OutputChunk(Model):
    """A piece of the output of one program on one stream."""

    attempt: int
    """Number of the attempt that printed the piece, from 1; a new attempt starts from the beginning."""
    worker: str
    """Two workers may run the same attempt; each numbers its own pieces."""
    stage: Literal["compile", "run"]
    """Stage that printed the piece."""
    case: int | None = None
    """Index of the test case, from 0; None while compiling."""
    stream: Literal["stdout", "stderr"]
    """Stream that the piece is of."""
    sequence: int
    """Number of the piece within the worker's attempt, from 0; a gap means that pieces are missing."""
    offset_bytes: int
    """Bytes of this stream of the stage before this piece."""
    text: str
    """Printed bytes as text; a character is never split."""
    encoding: OutputEncoding = "utf8"
    """Encoding of `text`: base64 if its bytes are not UTF-8, or if JSON's escapes would double them."""
