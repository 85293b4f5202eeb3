"""Cache of compilations on this host: a submission that equals an earlier one is not compiled again.

KEY         SHA-256 of the rest, the stage as JSON, the contents of the box; modified when last used
.KEY-*      an entry that is being written

The cache assumes that a compiler makes the same of the same files. If one reads the clock or random numbers,
later submissions get the result of its first run.
"""

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import ValidationError
from pydantic_core import to_json

from processors.sandbox import Rootfs
from topics.request.cases import CheckerComparison
from topics.request.commands import ShellOrArgv
from topics.request.files import File
from topics.request.limits import CompileLimits, RunLimits
from topics.request.model import SubmissionRequest
from topics.submissions.stage import CompileStage

log = logging.getLogger(__name__)

VERSION = 1
"""Version of the files and of how a box is made; a new value invalidates all earlier entries."""
SWEEP_SHARE = 1 / 32
"""Share of the limit that may be written before the folder is scanned for entries to remove."""
_DIGEST_BYTES = hashlib.sha256().digest_size


class Sources(NamedTuple):
    """Files of a program or of a checker, and how they are compiled."""

    files: tuple[File, ...]
    compile: ShellOrArgv | None
    compile_limits: CompileLimits
    limits: RunLimits
    """Limits of the program; those of its box if there is nothing to compile."""
    env: Mapping[str, str]
    is_kept: bool = True
    """Whether the compilation may be kept. That another one was kept would disclose equal hidden files."""

    @classmethod
    def of_program(cls, request: SubmissionRequest, env: Mapping[str, str]) -> Self:
        """Return the sources of the program of a request."""
        limits = request.limits
        has_hidden_file = any(case.hidden and case.input_file is not None for case in request.test_cases)
        return cls(request.files, request.compile, limits.compile, limits.run, env, not has_hidden_file)

    @classmethod
    def of_checker(cls, checker: CheckerComparison, env: Mapping[str, str]) -> Self:
        """Return the sources of a checker."""
        return cls(checker.files, checker.compile, checker.compile_limits, checker.limits, env)

    @property
    def box_limits(self) -> RunLimits:
        """Limits of the first stage in the box."""
        return self.compile_limits if self.compile else self.limits


class CachedCompilation(NamedTuple):
    """A compile stage that succeeded, and a snapshot of its box."""

    stage: CompileStage
    box: bytes


def key_of(sources: Sources, owner: str | None, rootfs: Rootfs, answer_bytes: int) -> str:
    """Return a hash of all that the compile stage depends on, and of the submission's owner."""
    files = sorted((file.name, hashlib.sha256(file.data()).hexdigest()) for file in sources.files)
    parts = {
        "version": VERSION,
        "owner": owner,
        "files": files,
        "compile": sources.compile,
        "env": dict(sorted(sources.env.items())),
        "mounts": sorted((target, str(source)) for target, source in rootfs.mounts.items()),
        "limits": sources.compile_limits,
        "answer_bytes": answer_bytes,
    }
    return hashlib.sha256(to_json(parts)).hexdigest()


class CompileCache:
    """A folder that the workers of a host share; its methods block on files for some milliseconds."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._unswept_bytes = max_bytes  # earlier workers may have had a higher limit
        self._sweeping = threading.Lock()

    @property
    def enabled(self) -> bool:
        """Whether compilations are kept."""
        return self._max_bytes > 0

    def get(self, key: str) -> CachedCompilation | None:
        """Return the entry of a key and mark it as used; None if it is absent or damaged."""
        path = self._folder / key
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        try:
            return decode(content)
        except ValueError as error:
            log.warning("%s is damaged and removed; a power failure may cause that: %s", path, error)
            self.drop(key)
            return None

    def drop(self, key: str) -> None:
        """Remove the entry of a key, if there is one."""
        (self._folder / key).unlink(missing_ok=True)

    def put(self, key: str, compiled: CachedCompilation) -> None:
        """Write an entry and remove the least recently used ones; a full disk is only logged."""
        content = encode(compiled)
        if len(content) > self._max_bytes:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(key, content)
            self._sweep(len(content))
        except OSError as error:
            log.warning("the compilation cannot be kept in %s: %s", self._folder, error)

    def _write(self, key: str, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(prefix=f".{key}-", dir=self._folder) as file:
            file.write(content)
            file.flush()
            with suppress(FileExistsError):  # another worker of this host wrote the same entry
                os.link(file.name, self._folder / key)

    def _sweep(self, written_bytes: int) -> None:
        with self._sweeping:
            self._unswept_bytes += written_bytes
            if self._unswept_bytes < self._max_bytes * SWEEP_SHARE:
                return
            self._unswept_bytes = 0
            room_bytes = self._max_bytes * (1 - SWEEP_SHARE)
            for used_at, size_bytes, path in sorted(self._entries(), reverse=True):
                room_bytes -= size_bytes
                if room_bytes < 0:
                    log.debug("removing %s, last used at %f", path, used_at)
                    path.unlink(missing_ok=True)

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Return time of use, size and path of each file, half-written ones of killed workers included."""
        found = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another worker removed it
                state = entry.stat(follow_symlinks=False)
                found.append((state.st_mtime, state.st_blocks * 512, Path(entry.path)))
        return found


def encode(compiled: CachedCompilation) -> bytes:
    """Return an entry as bytes, in the format that `decode` reads."""
    content = compiled.stage.model_dump_json().encode() + b"\n" + compiled.box
    return hashlib.sha256(content).digest() + content


def decode(content: bytes) -> CachedCompilation:
    """Return the entry that `encode` wrote.

    Raises:
        ValueError: the bytes are incomplete, damaged, or of another version.
    """
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        raise ValueError("its checksum is wrong")
    stage, _, box = rest.partition(b"\n")
    try:
        return CachedCompilation(CompileStage.model_validate_json(stage), box)
    except ValidationError as error:  # of another version of this program
        raise ValueError("its stage cannot be read") from error
