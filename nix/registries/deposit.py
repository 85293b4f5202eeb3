"""Takes files from a sandbox: those that are expected, up to a size, hashed on the way."""

import asyncio
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from nix.registries.inside.deposit import ACCEPTED

NAME_BYTES = 200
PIECE_BYTES = 1 << 20
LIMIT = "environment_bytes"
TWICE = "it was handed over twice"


class Deposit:
    """Files of one build, in a folder that is root's alone."""

    def __init__(self, folder: Path, expected: Iterable[str], limit_bytes: int) -> None:
        """`expected` are names; one that is a hash such as `sha256:HEX` must be the content's."""
        self._folder, self._expected, self._left_bytes = folder, set(expected), limit_bytes
        self._begun: set[str] = set()
        self.files: dict[str, Path] = {}
        """What came whole, by name."""
        self.hashes: dict[str, str] = {}
        """sha256 of each, hexadecimal."""
        self.refused: dict[str, str] = {}
        """Why the others were not taken."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one file. If its name comes twice, both files are refused.

        Raises OSError or EOFError when the connection ends before its time.
        """
        name = (await reader.readuntil(b"\n"))[:NAME_BYTES].decode(errors="replace").strip()
        if name not in self._expected:
            why = "no file of this name is expected"
        elif name in self._begun:
            why = TWICE
            self._refuse(name, why)
        else:
            self._begun.add(name)
            why = await self._take(name, reader) or self.refused.get(name, "")
            if why:
                self._refuse(name, why)
        writer.write(why.encode() or ACCEPTED)
        await writer.drain()

    def _refuse(self, name: str, why: str) -> None:
        self.refused[name] = why
        self.files.pop(name, None)
        self.hashes.pop(name, None)

    async def _take(self, name: str, reader: asyncio.StreamReader) -> str:
        """Write a file down; return why it is not taken, empty where it is."""
        algorithm, _, wanted = name.partition(":")
        digests = [hashlib.sha256(), *([hashlib.new(algorithm)] if wanted else [])]
        draft = self._folder / name.replace(":", "-")
        with draft.open("xb") as file:
            while piece := await reader.read(PIECE_BYTES):
                self._left_bytes -= len(piece)
                if self._left_bytes < 0:
                    return f"it hit the limit {LIMIT}"
                await asyncio.to_thread(file.write, piece)
                for digest in digests:
                    digest.update(piece)
        if wanted and digests[-1].hexdigest() != wanted:
            return f"its {algorithm} is {digests[-1].hexdigest()[:16]}…, and {wanted[:16]}… was promised"
        self.files[name], self.hashes[name] = draft, digests[0].hexdigest()
        return ""

    def remove(self) -> None:
        """Remove what was written down and not moved away."""
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):
                file.unlink()
