"""`unpack`: makes one tar for /usr/local of the archives below /archives that /box/artifacts.json lists.

The archives may be hostile. Only plain files at plain paths with plain modes are unpacked. No content of an
archive is executed or imported. The tar depends on the archives only. It is sent to the deposit's socket,
with the name `layer`.

The program exits with code 3 if an archive is refused, and prints the reason.
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
    """Destination of a tar, which is written piece by piece."""

    def write(self, piece: bytes, /) -> int:
        """Write the whole piece and return its length."""
        ...


class Layer:
    """Tar that is being written, of at most `limit_bytes` of file contents."""

    def __init__(self, output: Output, limit_bytes: int) -> None:
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `close`
            fileobj=cast(IO[bytes], output), mode="w|", bufsize=PIECE_BYTES, format=tarfile.GNU_FORMAT
        )
        self._left_bytes, self._left_files = limit_bytes, FILES
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, member: Member) -> None:
        """Write one file or link.

        Raises:
            UnpackRefusedError: the contents exceed the limit, or one path is a file and a folder.
        """
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
        """Write the blocks that end a tar."""
        self._tar.close()


def members(artifact: dict[str, str], python_version: str) -> Iterator[Member]:
    """Yield the members of an archive; a damaged one may also make its library raise any exception.

    Raises:
        UnpackRefusedError: the archive is not an acceptable package.
    """
    file = ARCHIVES / artifact["file"]
    if artifact["registry"] == "pypi":
        return wheel_members(file, python_version)
    return npm_members(file, artifact["place"], artifact["name"])


def main(python_version: str, limit_bytes: str) -> None:
    """Write the layer to the deposit, or print the reason for a refusal."""
    artifacts = json.loads(Path("artifacts.json").read_text())
    try:
        with Deposited("layer") as deposited:
            layer = Layer(deposited, int(limit_bytes))
            for artifact in artifacts:
                _add(artifact, layer, python_version)
            layer.close()
            why = deposited.finish()
    except ConnectionError:  # the deposit has reached its limit
        why = f"what is in them {TOO_LARGE}"
    if why:
        _refuse(why)


def _add(artifact: dict[str, str], layer: Layer, python_version: str) -> None:
    try:
        for member in members(artifact, python_version):
            layer.add(member)
    except ConnectionError:
        raise
    except Exception as error:  # a hostile archive may make the libraries raise anything
        why = str(error) if isinstance(error, UnpackRefusedError) else f"it cannot be read: {error!r:.300}"
        _refuse(f"{artifact['label']}: {why}")


def _refuse(why: str) -> None:
    sys.stdout.write(why)
    sys.stdout.flush()
    sys.exit(REFUSED)


if __name__ == "__main__":
    main(*sys.argv[1:])
