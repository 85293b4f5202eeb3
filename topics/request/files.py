"""Files of a request, and files that it takes from the output of earlier submissions."""

import base64
import binascii
from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from topics.model import Model

ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$"
"""Regular expression of a submission's id, for JSON Schema as well as for Python."""
SubmissionId = Annotated[str, Field(pattern=ID_PATTERN)]
"""Id of a submission, made by the client or by Envicutor; the key of all its records."""
TEST_CASES = 1000
"""Largest number of test cases of a request."""
Encoding = Literal["utf8", "base64", "hex"]
"""Encoding of bytes as text in JSON."""


class FileOrigin(Model):
    """Output file of an earlier submission with the same owner, whose content a request takes over."""

    submission: SubmissionId
    """Id of the submission, which must have ended."""
    case: Annotated[int, Field(ge=0, lt=TEST_CASES)] = 0
    """Index of the test case that made the file, from 0."""
    name: str
    """Path of the output file, relative to /box, as `outputs` of the answer has it."""


class File(Model):
    """A file of the submission, placed below /box before its program is compiled or run.

    Its mode is 0755, so that a script with a `#!` line can be run as `./main.sh`.
    """

    name: str
    """Path relative to /box, such as `main.py` or `data/in.csv`. Its folders are made. It has at most
    1,024 bytes, and neither `.` nor `..` nor an empty component."""
    content: str
    """Content, in the encoding `encoding`. A request gives either it or `from`; a stored request has it."""
    encoding: Encoding = "utf8"
    """Encoding of `content`: `utf8` is the text itself; `base64` (RFC 4648, with padding) and `hex` stand for
    any bytes, such as those of an image."""
    origin: Annotated[FileOrigin | None, Field(alias="from", exclude_if=lambda origin: origin is None)] = None
    """Output file of an earlier submission to take the content from. The content is copied when the request
    is accepted: the stored request has both `from` and `content`."""

    @model_validator(mode="before")
    @classmethod
    def _content_or_origin(cls, value: Any) -> Any:
        """Let a file with `from` have no content, which is taken when the request is accepted."""
        if isinstance(value, dict) and value.get("from") is not None and "content" not in value:
            return value | {"content": ""}
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema of a file; in requests it needs `content` or `from`, elsewhere it has content."""
        schema = handler(core_schema)
        if handler.mode == "validation":
            own = handler.resolve_ref_schema(schema)
            own["required"] = ["name"]
            own["anyOf"] = [{"required": ["content"]}, {"required": ["from"]}]
        return schema

    @model_validator(mode="after")
    def _decodable(self) -> Self:
        try:
            self.data()
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"content of {self.name!r} is not valid {self.encoding}: {error}") from None
        return self

    def data(self) -> bytes:
        """Return the content as bytes; none as long as it was not taken from `origin`.

        Raises:
            ValueError: the content is not valid in its encoding; a validated file has no such content.
        """
        return decoded(self.content, self.encoding)


def decoded(text: str, encoding: Encoding) -> bytes:
    """Return the bytes that `text` stands for.

    Raises:
        ValueError: it is not valid in this encoding.
    """
    match encoding:
        case "utf8":
            return text.encode()
        case "base64":
            return base64.b64decode(text, validate=True)
        case "hex":
            return bytes.fromhex(text)
