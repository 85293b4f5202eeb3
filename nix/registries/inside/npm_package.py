"""Packages of npm: the paths of their files below /usr/local."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nix.registries.inside.refusal import COMMAND, Member, UnpackRefusedError, check_mode, plain_path

DESCRIPTION = "package.json"
DESCRIPTION_BYTES = 4 << 20


def npm_members(file: Path, place: str, name: str) -> Iterator[Member]:
    """Yield the files of a package, and links to its programs unless another package contains it.

    `place` is the folder of the package, such as `node_modules/a`; only programs of packages directly in
    `node_modules` are linked into PATH.

    Raises:
        UnpackRefusedError: the archive is not an acceptable package.
    """
    top = place.count("node_modules/") == 1
    programs = _programs(_description(file), name) if top else {}
    folder = f"lib/{place}"
    there = set()
    with tarfile.open(file, mode="r|gz") as archive:
        for info in archive:
            path = _path(info)
            if path:
                there.add(path)
                executable = bool(info.mode & 0o111) or path in programs.values()
                yield Member(f"{folder}/{path}", info.size, archive.extractfile(info), executable)
    for command, path in programs.items():
        if path in there:
            yield Member(f"bin/{command}", 0, None, link=f"../{folder}/{path}")


def _path(info: tarfile.TarInfo) -> str:
    """Return a file's path within the package, empty for a folder, which is skipped.

    Raises:
        UnpackRefusedError: the member has another type, or an unacceptable mode or name.
    """
    if not info.isreg() and not info.isdir():
        raise UnpackRefusedError(f"its member {info.name[:200]!r} is neither file nor folder")
    if info.isdir():
        return ""
    check_mode(info.name, info.mode & 0o7777)
    return plain_path(info.name).partition("/")[2]


def _description(file: Path) -> Any:
    with tarfile.open(file, mode="r|gz") as archive:
        for info in archive:
            if _path(info) == DESCRIPTION:
                if info.size > DESCRIPTION_BYTES:
                    raise UnpackRefusedError(f"its {DESCRIPTION} is larger than {DESCRIPTION_BYTES} bytes")
                content = archive.extractfile(info)
                assert content is not None
                return json.loads(content.read())
    raise UnpackRefusedError(f"it has no {DESCRIPTION}")


def _programs(description: Any, name: str) -> dict[str, str]:
    """Return the paths of the package's programs, relative to the package, by their names in PATH."""
    programs = description.get("bin") if isinstance(description, dict) else None
    if isinstance(programs, str):
        programs = {name.rpartition("/")[2]: programs}
    if not isinstance(programs, dict):
        return {}
    return {
        command: plain_path(path)
        for command, path in programs.items()
        if COMMAND.fullmatch(command) and isinstance(path, str)
    }
