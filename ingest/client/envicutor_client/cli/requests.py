"""Requests of `envicutor submit`: made from a directory, or read as JSON."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envicutor_client.content import encoded, read_bounded, read_file
from envicutor_client.models import FILES_OF_FIELDS, REQUEST_BYTES_CEILING

LOOKED_AT = 10_000
"""Files and folders that a directory may have. A request has room for 4096 files."""
_ADVICE = "name a directory that has only the files that the program needs"
OTHER_FIELDS_FILE = "submission.json"
"""File of a directory with the request's other fields, such as test cases and limits. It is not sent."""


def read_request(path: str) -> dict[str, Any]:
    """Return the request of a directory, of a JSON file, or of standard input (`-`).

    Raises:
        ValueError: it does not form a request, or is larger than any may be. The message has the reason.
        OSError: a file cannot be read.
    """
    if path == "-":
        return _object(read_bounded(sys.stdin.buffer, "standard input"), "standard input")
    if Path(path).is_dir():
        return read_directory(Path(path))
    return _object(read_file(Path(path)), path)


def read_directory(directory: Path) -> dict[str, Any]:
    """Return a request with all files below `directory`, and the other fields from its `submission.json`.

    A field of `FILES_OF_FIELDS` that is missing there is the text of its file, if that exists.

    Raises:
        ValueError, OSError: see `read_request`.
    """
    other = directory / OTHER_FIELDS_FILE
    fields = _object(read_file(other), str(other)) if other.exists() else {}
    if "files" in fields:
        raise ValueError(f"{other}: remove `files`, since the files of the directory are sent")
    paths = sorted(path for path in _files(directory) if path != other)
    names = [path.relative_to(directory).as_posix() for path in paths]
    files = [{"name": name} | encoded(read_file(path)) for name, path in zip(names, paths, strict=True)]
    return {"files": files} | _older_convention_fields(directory) | fields


def _older_convention_fields(directory: Path) -> dict[str, Any]:
    """Return the fields whose files are in `directory`, with the texts of these files."""
    fields: dict[str, Any] = {}
    for field, names in FILES_OF_FIELDS.items():
        texts = (_text(directory / name) for name in names if (directory / name).is_file())
        if text := next(filter(None, texts), None):
            fields[field] = {"nix": text} if field == "dependencies" else text
    return fields


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None


def _files(directory: Path) -> Iterator[Path]:
    """Yield the files below a directory, as long as they fit into a request.

    The bound matters if a user means `.` and the shell is in `/`.

    Raises:
        ValueError: there are too many files, or they are too large.
    """
    size_bytes = 0
    for number, path in enumerate(directory.rglob("*"), 1):
        if number > LOOKED_AT:
            raise ValueError(f"{directory} has more than {LOOKED_AT} files and folders: {_ADVICE}")
        if path.is_file():
            size_bytes += path.stat().st_size
            if size_bytes > REQUEST_BYTES_CEILING:
                most = f"{REQUEST_BYTES_CEILING >> 20} MiB, more than any request may have"
                raise ValueError(f"the files in {directory} are larger than {most}: {_ADVICE}")
            yield path


def _object(raw: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value
