"""The binary cache: a shared folder into which builders publish environments and from which hosts fetch them.

    nix-cache-info, HASH.narinfo, nar/   Nix's layout: each environment signed, compressed with zstd
    package-sets/                        see nix.package_set
    .draft-*/                            drafts of environments that are being published

A process with write access can remove files but cannot forge any: hosts verify the signature of an
environment and the pin of a package set. Any file may be deleted at any time; the environment is built again
if needed.
"""

import asyncio
import base64
import logging
import shutil
import tempfile
import time
from pathlib import Path

from nix.errors import CacheError
from nix.nix_store import COPY_LIMITS, NixStore
from nix.settings import NixSettings

log = logging.getLogger(__name__)

INFO = "nix-cache-info"
"""File that makes a folder a binary cache for Nix; if it is missing, the file system may not be mounted."""
HASH_LENGTH = 32
"""Length of the hash at the beginning of a store path's name, by which Nix names its narinfo."""


class BinaryCache:
    """One host's access to the binary cache."""

    def __init__(self, folder: Path, settings: NixSettings, store: NixStore) -> None:
        self._folder, self._settings, self._store = folder, settings, store

    async def prepare(self) -> None:
        """Make the folder a binary cache, unless it is one.

        Raises:
            CacheError: the folder cannot be written.
        """
        try:
            await asyncio.to_thread(self._prepare)
        except OSError as error:
            raise CacheError(f"the binary cache {self._folder} cannot be written: {error}") from error

    def _prepare(self) -> None:
        if (self._folder / INFO).exists():
            return
        draft = self._make_draft()
        try:
            (draft / INFO).write_text("StoreDir: /nix/store\n")
            self._move(draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    async def publish(self, store_path: str, work: Path, *, again: bool) -> bool:
        """Publish an environment and return True, or return False if it is published already.

        With `again` the environment is published in any case and replaces the earlier one.

        Raises:
            CacheError: the environment cannot be signed or written.
        """
        if not again and await asyncio.to_thread(self._narinfo(store_path).exists):
            return False
        secret_key_file = checked_secret_key_file(self._settings)
        draft = await asyncio.to_thread(self._make_draft)
        try:
            await self._store.copy_to(draft, secret_key_file, store_path, work)
            await asyncio.to_thread(self._move, draft)
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)
        log.info("published %s", store_path)
        return True

    async def fetch(self, store_path: str, work: Path) -> None:
        """Copy an environment into the Nix store; a GC root in `work` keeps it there.

        Raises:
            EnvironmentNotFoundError: it is not in the binary cache, or its signature is not valid.
            CacheError: a host error, such as a full disk.
        """
        if not await asyncio.to_thread((self._folder / INFO).exists):
            raise CacheError(f"{self._folder} is not a binary cache: is its file system mounted?")
        await self._store.copy_from(self._folder, self._settings.binary_cache_public_key, store_path, work)
        log.info("fetched %s", store_path)

    def _narinfo(self, store_path: str) -> Path:
        return self._folder / f"{Path(store_path).name[:HASH_LENGTH]}.narinfo"

    def _make_draft(self) -> Path:
        """Make an empty draft folder, and remove the drafts of publishers that were killed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for draft in self._folder.glob(".draft-*"):
            if draft.stat().st_mtime < time.time() - 2 * COPY_LIMITS.wall_time_s:
                shutil.rmtree(draft, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=".draft-", dir=self._folder))

    def _move(self, draft: Path) -> None:
        """Move the files of a draft into the binary cache; the narinfo last, as it refers to the others."""
        (self._folder / "nar").mkdir(exist_ok=True)
        files = [*draft.glob("nar/*"), draft / INFO, *draft.glob("*.narinfo")]
        for file in files:
            file.rename(self._folder / file.relative_to(draft))


def checked_secret_key_file(settings: NixSettings) -> Path:
    """Return the secret key file if hosts accept what it signs.

    Raises:
        CacheError: the file is missing, unreadable, readable by others, or not the half of the public key.
    """
    file = settings.binary_cache_secret_key_file
    if file is None:
        raise CacheError("builders sign what they publish: set ENVICUTOR_BINARY_CACHE_SECRET_KEY_FILE")
    try:
        mode, secret_key = file.stat().st_mode, file.read_text()
    except OSError as error:
        raise CacheError(f"the binary cache's secret key cannot be read: {error}") from error
    if mode & 0o077:
        raise CacheError(f"others than root may read the binary cache's secret key: chmod 600 {file}")
    if public_half(secret_key) != settings.binary_cache_public_key:
        raise CacheError(f"ENVICUTOR_BINARY_CACHE_PUBLIC_KEY is not the public half of {file}")
    return file


def public_half(secret_key: str) -> str:
    """Return the public key of a Nix secret key: `NAME:` and the second 32 bytes of the key, in base64.

    Raises:
        CacheError: the secret key is not in Nix's format.
    """
    name, _, encoded = secret_key.strip().partition(":")
    try:
        public = base64.b64decode(encoded, validate=True)[32:]
    except ValueError as error:
        raise CacheError("the binary cache's secret key is not one of Nix's") from error
    return f"{name}:{base64.b64encode(public).decode()}"
