"""Disk space of this host. Below a watermark no new work begins, so that what was accepted can end."""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from topics.request.limits import GiB, MiB

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 1.0
"""Age up to which a role uses a measurement again."""
_RESUME = 1.25
"""Multiple of the watermark from which work begins again, so that it does not begin and cease again."""


class DiskSettings(BaseSettings):
    """Disk space that is kept free."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    disk_free_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of a file system below which no new work begins: a request gets a 507, or a rejection on Kafka,
    and accepted work waits. It begins again by itself with a quarter more. See
    [operate.md](operate.md#a-full-disk)."""
    disk_free_bytes: int = Field(default=1 * GiB, ge=0)
    """The same as a size. The larger one of the two applies."""
    disk_folders: tuple[Path, ...] = ()
    """Folders whose file systems a role watches beside those of its own folders. `up` sets those of all roles
    of the host. A folder that a role may not reach is refused at its start."""

    @field_validator("disk_folders")
    @classmethod
    def _reachable(cls, folders: tuple[Path, ...]) -> tuple[Path, ...]:
        for folder in folders:
            if not folder.is_absolute():
                raise ValueError(f"{folder} is not an absolute path")
            try:
                space_of(folder)
            except OSError as error:
                raise ValueError(str(error)) from None
        return folders


class Space(NamedTuple):
    """Size of a file system, and what of it users may still fill."""

    total_bytes: int
    free_bytes: int


class Watermark(NamedTuple):
    """Free space below which a file system counts as full. Pure."""

    share: float
    least_bytes: int

    def of(self, total_bytes: int) -> int:
        """Return the watermark of a file system of this size, in bytes."""
        return max(int(self.share * total_bytes), self.least_bytes)

    def is_low(self, space: Space, *, was_low: bool) -> bool:
        """Return whether there is too little space; what was low needs more than the watermark."""
        return space.free_bytes < self.of(space.total_bytes) * (_RESUME if was_low else 1)


FULL = Watermark(0.0, 32 * MiB)
"""Space below which a process that is started, or a write of a table, may fail."""


class DiskWatch:
    """Watch over the file systems of some folders, which need not exist yet."""

    def __init__(
        self,
        watermarks: Mapping[Path, Watermark],
        *,
        waiting: str = "new work",
        look_again_s: float = _LOOK_AGAIN_S,
    ) -> None:
        """Watch folders, each with a watermark of its own; log messages name what is `waiting` for room.

        A measurement is used again up to an age of `look_again_s`.
        """
        self._watermarks, self._waiting, self._look_again_s = watermarks, waiting, look_again_s
        self._looked_at_s = float("-inf")
        self._spaces: dict[Path, Space] = {}
        self._low: frozenset[Path] = frozenset()

    @classmethod
    def of_role(cls, settings: DiskSettings, *folders: Path, small: Iterable[Path] = ()) -> "DiskWatch":
        """Return the watch of a role over its own folders and those of the settings.

        `small` are folders that need next to nothing, but not nothing.
        """
        watermark = Watermark(settings.disk_free_share, settings.disk_free_bytes)
        return cls(dict.fromkeys(small, FULL) | dict.fromkeys([*folders, *settings.disk_folders], watermark))

    @classmethod
    def against_full(cls, *folders: Path, waiting: str) -> "DiskWatch":
        """Return a watch over folders that have a shortage only if they are full; it looks at each call."""
        return cls(dict.fromkeys(folders, FULL), waiting=waiting, look_again_s=0)

    def shortage(self) -> str | None:
        """Return which folder has too little space, as a phrase, or None."""
        self._look()
        for folder, watermark in self._watermarks.items():
            if folder in self._low:
                space = self._spaces[folder]
                needed_bytes = watermark.of(space.total_bytes)
                return (
                    f"disk space: {folder} has {space.free_bytes >> 20} MiB free, "
                    f"less than the watermark of {needed_bytes >> 20} MiB"
                )
        return None

    def free_bytes(self) -> int:
        """Return the free space of the file system that has the least."""
        self._look()
        return min((space.free_bytes for space in self._spaces.values()), default=0)

    def _look(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_at_s < self._look_again_s:
            return
        self._looked_at_s = now_s
        self._spaces = {folder: space_of(folder) for folder in self._watermarks}
        before = self._low
        self._low = frozenset(
            folder
            for folder, watermark in self._watermarks.items()
            if watermark.is_low(self._spaces[folder], was_low=folder in before)
        )
        if self._low and not before:
            log.warning("%s: %s waits", self.shortage(), self._waiting)
        elif before and not self._low:
            log.warning("disk space: there is enough again, %s goes on", self._waiting)


def space_of(folder: Path) -> Space:
    """Return the space of the file system that a folder is on, or will be on."""
    while True:
        try:
            found = os.statvfs(folder)
        except FileNotFoundError:
            folder = folder.parent
        else:
            return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
