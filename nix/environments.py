"""The environments that a Cache has: which there are, which are in use, and when each was used last.

Below `nix_root`:

    environments/KEY.json           what was built for a key; true while the environment's root is there
    locks/HASH-environment.lock     shared while an environment is in use; its eviction needs it alone.
                                    Its time of change is when the environment was used last
    nix/var/nix/gcroots/envicutor/  the roots: a link to each environment that is installed
"""

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from nix import locks
from nix.artifacts import Artifact
from nix.errors import MissingError

STORE_PATH = re.compile(r"/nix/store/(?P<name>[0-9a-z]{32}-environment)")


@dataclass(frozen=True)
class Installed:
    """An environment in the Cache."""

    store_path: str
    """What `hold` takes; the same on every host."""
    variables: dict[str, str]
    """Environment variables that the expression asked for; what is kept for a key has none."""
    packages: list[str]
    """All packages in the environment, the resolved closure, sorted."""
    size_bytes: int
    log: str
    """What the build printed."""
    resolution: tuple[Artifact, ...] = ()
    """What packages of other registries came to; what is kept for a key has none."""


class Environments:
    """The records, locks and roots of one Nix store; processes of a host share them."""

    def __init__(self, nix_root: Path, roots: Path) -> None:
        self._records, self._locks, self._roots = nix_root / "environments", nix_root / "locks", roots
        for folder in (self._records, self._locks, self._roots):
            folder.mkdir(parents=True, exist_ok=True)

    def installed(self, store_path: str) -> bool:
        """Say whether an environment is there."""
        return self._root(store_path).is_symlink()

    def used_longest_ago_first(self) -> list[tuple[float, str]]:
        """Return every environment that is there, after the time of its last use, in seconds."""
        names = [root.name for root in self._roots.glob("*-environment")]
        return sorted((self._last_use(name), f"/nix/store/{name}") for name in names)

    @contextmanager
    def held(self, store_path: str) -> Iterator[None]:
        """Keep an environment from being evicted.

        Raises MissingError if it is not there, or is just being evicted.
        """
        if not STORE_PATH.fullmatch(store_path):
            raise MissingError(f"{store_path!r} is not the store path of an environment")
        # The lock comes first: what was seen without it may be gone a moment later.
        with locks.try_shared(self._lock(store_path)) as held:
            if not held or not self.installed(store_path):
                raise MissingError(f"{store_path} is not in the Cache of this host")
            os.utime(self._lock(store_path))
            yield

    @contextmanager
    def going(self, store_path: str) -> Iterator[bool]:
        """Hold an environment alone, in order to evict it; yields False where it is in use."""
        with locks.try_exclusive(self._lock(store_path)) as alone:
            yield alone and self.installed(store_path)

    @asynccontextmanager
    async def key(self, key: str) -> AsyncIterator[None]:
        """Wait until nobody else on this host is at this key, and be the one who is."""
        async with locks.exclusive(self.key_lock(key)):
            yield

    def key_lock(self, key: str) -> Path:
        """Return the file that `key` locks."""
        return self._locks / f"{key}.lock"

    async def known(self, key: str) -> Installed | None:
        """Return what was built for a key, if its record makes sense and its tree is there."""
        try:
            installed = Installed(**json.loads(self._record(key).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        async with locks.shared(self._lock(installed.store_path)):
            os.utime(self._lock(installed.store_path))
            return installed if self.installed(installed.store_path) else None

    async def add(self, key: str, installed: Installed) -> None:
        """Root an environment and write down what it was built for."""
        async with locks.shared(self._lock(installed.store_path)):
            os.utime(self._lock(installed.store_path))
            # In this order: a record without root is nothing.
            _replace_link(self._root(installed.store_path), installed.store_path)
            _replace_file(self._record(key), json.dumps(asdict(installed)))

    async def add_root(self, store_path: str) -> None:
        """Root an environment that came from elsewhere."""
        async with locks.shared(self._lock(store_path)):
            os.utime(self._lock(store_path))
            _replace_link(self._root(store_path), store_path)

    def remove(self, store_path: str) -> None:
        """Take the root and the records of an environment away, which leaves it to garbage collection."""
        self._root(store_path).unlink(missing_ok=True)
        for record in self._records.glob("*.json"):
            with suppress(FileNotFoundError):
                if store_path in record.read_text():
                    record.unlink()

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


def _replace_link(link: Path, target: str) -> None:
    draft = link.with_name(f".{link.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.rename(link)


def _replace_file(file: Path, content: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(content)
    draft.rename(file)
