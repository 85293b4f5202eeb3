"""Rules that the members of an archive must follow: only plain files at plain paths are unpacked."""

import re
import stat
from dataclasses import dataclass
from typing import IO

PATH_CHARACTERS = 1000
NAME_BYTES = 255
COMMAND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}")
"""Names that a program in PATH may have; other commands of a package are left out."""


class UnpackRefusedError(Exception):
    """An archive is not an acceptable package; the message is the reason."""


@dataclass(frozen=True)
class Member:
    """File to write below /usr/local, or a symbolic link that `unpack` adds."""

    path: str
    size_bytes: int
    content: IO[bytes] | None
    executable: bool = False
    link: str = ""


def plain_path(name: str) -> str:
    """Return a member's path in its normal form, without empty components and dots.

    Raises:
        UnpackRefusedError: the path is absolute, contains `..`, or is not usable as a path.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise UnpackRefusedError(f"its member {name[:200]!r} leads out of it")
    if not parts or len(name) > PATH_CHARACTERS or any(len(part.encode()) > NAME_BYTES for part in parts):
        raise UnpackRefusedError(f"its member {name[:200]!r} has no usable name")
    if any(ord(sign) < 32 or sign == "\x7f" for sign in name):
        raise UnpackRefusedError(f"its member {name[:200]!r} has control characters in its name")
    return "/".join(parts)


def check_mode(name: str, mode: int) -> None:
    """Accept the mode of a plain file or a folder.

    Raises:
        UnpackRefusedError: the mode is of another type, or a file is setuid, setgid or sticky.
    """
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise UnpackRefusedError(f"its member {name[:200]!r} is neither file nor folder")
    if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX) and not stat.S_ISDIR(mode):
        raise UnpackRefusedError(f"its member {name[:200]!r} is setuid, setgid or sticky")
