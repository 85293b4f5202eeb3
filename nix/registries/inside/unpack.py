"""`unpack`: makes one tar of the archives below /archives that /box/artifacts.json lists, for /usr/local.

The archives may be hostile. Only plain files come out of them, at plain places, with plain modes; the tar
depends on nothing but the archives. It is handed over at the deposit's socket, as `layer`. Nothing of an
archive is executed or imported.

Exit code 3: an archive is refused, for the reason that is printed.
"""

import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol, cast

from nix.registries.inside.deposit import Deposited
from nix.registries.inside.npm_package import npm_members
from nix.registries.inside.refusal import Member, UnpackRefusedError
from nix.registries.inside.wheel import wheel_members

ARCHIVES = Path("/archives")
FILES = 200_000
PIECE_BYTES = 1 << 20
REFUSED = 3
TOO_LARGE = "hit the limit environment_bytes"


class Output(Protocol):
    """What a tar is written to."""

    def write(self, piece: bytes, /) -> int:
        """Write all of a piece."""
        ...


class Layer:
    """A tar that is being written."""

    def __init__(self, output: Output, limit_bytes: int) -> None:
        self._tar = tarfile.open(  # noqa: SIM115
            fileobj=cast(IO[bytes], output), mode="w|", bufsize=PIECE_BYTES, format=tarfile.GNU_FORMAT
        )
        self._left_bytes, self._left_files = limit_bytes, FILES
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, member: Member) -> None:
        """Write one file. Raises UnpackRefusedError where it does not fit or its place is taken."""
        self._left_bytes -= member.size_bytes
        self._left_files -= 1
        if self._left_bytes < 0:
            raise UnpackRefusedError(f"what is in them {TOO_LARGE}")
        if self._left_files < 0:
            raise UnpackRefusedError(f"there are more than {FILES} files in them")
        folders = {member.path[:end] for end, sign in enumerate(member.path) if sign == "/"}
        self._files.add(member.path)
        self._folders |= folders
        if member.path in self._folders or folders & self._files:
            raise UnpackRefusedError(f"{member.path!r} is a file and a folder")
        info = tarfile.TarInfo(member.path)
        info.mode = 0o755 if member.executable else 0o644
        if member.link:
            info.type, info.linkname = tarfile.SYMTYPE, member.link
            self._tar.addfile(info)
        else:
            info.size = member.size_bytes
            self._tar.addfile(info, member.content)

    def close(self) -> None:
        """Write the end."""
        self._tar.close()


def members(artifact: dict[str, str], python_version: str) -> Iterator[Member]:
    """Yield what an archive brings. Raises UnpackRefusedError, or what reading a damaged archive raises."""
    file = ARCHIVES / artifact["file"]
    if artifact["registry"] == "pypi":
        return wheel_members(file, python_version)
    return npm_members(file, artifact["place"], artifact["name"])


def main(python_version: str, limit_bytes: str) -> None:
    """Write the layer."""
    artifacts = json.loads(Path("artifacts.json").read_text())
    try:
        with Deposited("layer") as deposited:
            layer = Layer(deposited, int(limit_bytes))
            for artifact in artifacts:
                _add(artifact, layer, python_version)
            layer.close()
            why = deposited.verdict()
    except ConnectionError:  # the deposit takes no more
        why = f"what is in them {TOO_LARGE}"
    if why:
        _refuse(why)


def _add(artifact: dict[str, str], layer: Layer, python_version: str) -> None:
    try:
        for member in members(artifact, python_version):
            layer.add(member)
    except ConnectionError:
        raise
    except Exception as error:  # whatever a hostile archive makes the libraries raise
        why = str(error) if isinstance(error, UnpackRefusedError) else f"it cannot be read: {error!r:.300}"
        _refuse(f"{artifact['label']}: {why}")


def _refuse(why: str) -> None:
    sys.stdout.write(why)
    sys.stdout.flush()
    sys.exit(REFUSED)


if __name__ == "__main__":
    main(*sys.argv[1:])
