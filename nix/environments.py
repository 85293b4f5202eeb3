"""The installed environments of a Cache: records, locks, GC roots, and the time of each one's last use.

Below `nix_root`:

    environments/KEY.json           the environment built for a key; valid while its GC root exists
    locks/HASH-environment.lock     shared while an environment is in use, exclusive during eviction;
                                    its mtime is the time of the last use
    locks/HASH-environment.path.lock  exclusive while its files are put into the Nix store
    nix/var/nix/gcroots/envicutor/  the GC roots: a link to each installed environment
"""

import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from nix import locks
from nix.artifacts import ResolvedArtifact
from nix.errors import EnvironmentNotFoundError

STORE_PATH = re.compile(r"/nix/store/(?P<name>[0-9a-z]{32}-environment)")


@dataclass(frozen=True)
class InstalledEnvironment:
    """An installed environment, as it is recorded and returned to callers."""

    store_path: str
    """Store path to give to `Cache.hold`; equal on all hosts."""
    variables: dict[str, str]
    """Environment variables that the expression sets; empty in the record of a key."""
    packages: list[str]
    """All packages in the environment, the resolved closure, sorted."""
    size_bytes: int
    log: str
    """Output of the build, without lines of Nix about its derivation."""
    resolution: tuple[ResolvedArtifact, ...] = ()
    """Archives that the pinned packages resolved to; empty in the record of a key."""
    trees: Sequence[str] = ()
    """Names of the unpacked archives whose files it links (see nix.trees)."""
    own_bytes: int = 0
    """Disk space of its folders, and of files that it has copied since they could not be linked."""


class Environments:
    """The records, locks and GC roots of one Nix store, which the processes of a host share."""

    def __init__(self, nix_root: Path, roots: Path) -> None:
        self._records, self._locks, self._roots = nix_root / "environments", nix_root / "locks", roots
        for folder in (self._records, self._locks, self._roots):
            folder.mkdir(parents=True, exist_ok=True)

    def installed(self, store_path: str) -> bool:
        """Return whether an environment has a GC root, which means that it is installed."""
        return self._root(store_path).is_symlink()

    def used_longest_ago_first(self) -> list[tuple[float, str]]:
        """Return `(last use in Unix seconds, store path)` of installed environments, oldest first."""
        names = [root.name for root in self._roots.glob("*-environment")]
        return sorted((self._last_use(name), f"/nix/store/{name}") for name in names)

    @contextmanager
    def held(self, store_path: str) -> Iterator[None]:
        """Hold the shared lock of an environment, which keeps it from eviction.

        Raises:
            EnvironmentNotFoundError: the environment is not installed, or is being evicted.
        """
        if not STORE_PATH.fullmatch(store_path):
            raise EnvironmentNotFoundError(f"{store_path!r} is not the store path of an environment")
        # Lock before the check: without the lock the environment may be evicted right after it.
        with locks.try_shared(self._lock(store_path)) as held:
            if not held or not self.installed(store_path):
                raise EnvironmentNotFoundError(f"{store_path} is not in the Cache of this host")
            os.utime(self._lock(store_path))
            yield

    @contextmanager
    def going(self, store_path: str) -> Iterator[bool]:
        """Hold the exclusive lock of an environment to evict it; yield False if it is in use or absent."""
        with locks.try_exclusive(self._lock(store_path)) as exclusive:
            yield exclusive and self.installed(store_path)

    @asynccontextmanager
    async def key(self, key: str) -> AsyncIterator[None]:
        """Hold the exclusive lock of a key; wait while another process of this host holds it."""
        async with locks.exclusive(self.key_lock(key)):
            yield

    def key_lock(self, key: str) -> Path:
        """Return the lock file of a key."""
        return self._locks / f"{key}.lock"

    @asynccontextmanager
    async def adding(self, store_path: str) -> AsyncIterator[None]:
        """Hold the exclusive lock under which the files of an environment are put into the Nix store."""
        async with locks.exclusive(self._locks / f"{Path(store_path).name}.path.lock"):
            yield

    def recorded(self) -> list[InstalledEnvironment]:
        """Return the installed environments that have a record, which those of the binary cache have not."""
        read = filter(None, map(_read, self._records.glob("*.json")))
        by_path = {one.store_path: one for one in read}
        return [one for one in by_path.values() if self.installed(one.store_path)]

    async def known(self, key: str) -> InstalledEnvironment | None:
        """Return the environment of a key, or None if its record is damaged or it is not installed."""
        installed = _read(self._record(key))
        if installed is None:
            return None
        async with locks.shared(self._lock(installed.store_path)):
            os.utime(self._lock(installed.store_path))
            return installed if self.installed(installed.store_path) else None

    async def add(self, key: str, installed: InstalledEnvironment) -> None:
        """Create the GC root of an environment and its record for a key, within `adding`."""
        async with locks.shared(self._lock(installed.store_path)):
            os.utime(self._lock(installed.store_path))
            # In this order, since a record is valid only while the GC root exists.
            self._add_root(installed.store_path)
            _replace_file(self._record(key), json.dumps(asdict(installed)))

    async def add_root(self, store_path: str) -> None:
        """Create the GC root of an environment fetched from the binary cache, within `adding`.

        The environment has no record here.
        """
        async with locks.shared(self._lock(store_path)):
            os.utime(self._lock(store_path))
            self._add_root(store_path)

    def remove(self, store_path: str) -> None:
        """Remove the GC root and the records of an environment; garbage collection deletes the rest."""
        self._root(store_path).unlink(missing_ok=True)
        for record in self._records.glob("*.json"):
            with suppress(FileNotFoundError):
                if store_path in record.read_text():
                    record.unlink()

    def _add_root(self, store_path: str) -> None:
        # Not among the GC roots, where the draft of a killed process would keep the environment.
        draft = self._locks / f"{Path(store_path).name}.draft"
        draft.unlink(missing_ok=True)
        draft.symlink_to(store_path)
        draft.rename(self._root(store_path))

    def _record(self, key: str) -> Path:
        return self._records / f"{key}.json"

    def _root(self, store_path: str) -> Path:
        return self._roots / Path(store_path).name

    def _lock(self, store_path: str) -> Path:
        return self._locks / f"{Path(store_path).name}.lock"

    def _last_use(self, name: str) -> float:
        try:
            return (self._locks / f"{name}.lock").stat().st_mtime
        except FileNotFoundError:
            return 0.0


def _read(record: Path) -> InstalledEnvironment | None:
    """Return what a record holds; None if it is absent or damaged."""
    try:
        return InstalledEnvironment(**json.loads(record.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _replace_file(file: Path, content: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(content)
    draft.rename(file)
