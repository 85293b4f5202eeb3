"""Bytes as text in JSON, and back."""

import base64
from pathlib import Path
from typing import BinaryIO

from envicutor_client.models import REQUEST_BYTES_CEILING


def decoded(text: str, encoding: str) -> bytes:
    """Return the bytes that `text` stands for in an encoding: `utf8`, `base64` or `hex`."""
    if encoding == "base64":
        return base64.b64decode(text)
    return bytes.fromhex(text) if encoding == "hex" else text.encode()


def readable(text: str, encoding: str) -> str:
    """Return output as text; bytes that are not UTF-8 are shown as `\\xff`."""
    return decoded(text, encoding).decode(errors="backslashreplace") if encoding != "utf8" else text


def encoded(data: bytes | str, name: str = "content") -> dict[str, str]:
    """Return the field `name` with the data as text, and the field `encoding` if it is not UTF-8."""
    if isinstance(data, str):
        return {name: data}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name: base64.b64encode(data).decode(), "encoding": "base64"}


def read_file(path: Path) -> bytes:
    """Return the content of a local file.

    Raises:
        ValueError: it is larger than any request may be.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return read_bounded(file, str(path))


def read_bounded(source: BinaryIO, name: str) -> bytes:
    """Return what `source` has, and read no more of it than a request may have: it may have no end.

    Raises:
        ValueError: it is larger than any request may be; the message has `name`.
    """
    found = source.read(REQUEST_BYTES_CEILING + 1)
    if len(found) > REQUEST_BYTES_CEILING:
        raise ValueError(f"{name} is larger than {REQUEST_BYTES_CEILING} bytes, which no request may exceed")
    return found
