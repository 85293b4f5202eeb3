"""Receiver of files from a sandbox: only expected ones, up to a size, hashed while they arrive."""

import asyncio
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from nix.registries.inside.deposit import ACCEPTED

NAME_BYTES = 200
PIECE_BYTES = 1 << 20
LIMIT = "environment_bytes"
TWICE = "it was sent twice"


class Deposit:
    """Received files of one build, in a folder that only root can read."""

    def __init__(self, folder: Path, expected: Iterable[str], limit_bytes: int) -> None:
        """Expect files of these names, of `limit_bytes` together.

        A name may be a hash such as `sha256:HEX`; the file must then have this hash.
        """
        self._folder, self._expected, self._left_bytes = folder, set(expected), limit_bytes
        self._started: set[str] = set()
        self.files: dict[str, Path] = {}
        """Paths of complete files by name."""
        self.hashes: dict[str, str] = {}
        """Hexadecimal sha256 of each complete file by name."""
        self.refused: dict[str, str] = {}
        """Reason for each refused file by name."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Receive one file and answer with its acceptance or the reason for its refusal.

        If a name is sent twice, both files are refused.

        Raises:
            OSError: the connection broke.
            EOFError: the connection ended before the name was complete.
            asyncio.LimitOverrunError: the name is larger than the reader's buffer.
        """
        name = (await reader.readuntil(b"\n"))[:NAME_BYTES].decode(errors="replace").strip()
        if name not in self._expected:
            why = "no file of this name is expected"
        elif name in self._started:
            why = TWICE
            self._refuse(name, why)
        else:
            self._started.add(name)
            why = await self._receive(name, reader) or self.refused.get(name, "")
            if why:
                self._refuse(name, why)
        writer.write(why.encode() or ACCEPTED)
        await writer.drain()

    def _refuse(self, name: str, why: str) -> None:
        self.refused[name] = why
        self.files.pop(name, None)
        self.hashes.pop(name, None)

    async def _receive(self, name: str, reader: asyncio.StreamReader) -> str:
        """Write a file and return the reason for its refusal, empty if it is accepted."""
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
        """Remove the received files that were not moved away."""
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):
                file.unlink()
