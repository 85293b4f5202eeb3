"""The Debian package set: names, versions and archives of every package, as of one moment."""

from collections.abc import Callable
from dataclasses import dataclass

from nix.settings import NixSettings


@dataclass(frozen=True)
class PackageSet:
    """A package set in the shared folder `cache_dir`, immutable once it is there."""

    name: str
    """The distribution: `debian`."""
    pin: str
    """Names the set in submissions, keys and records; made of its date and content."""
    index_digest: str
    """sha256 of the index, hexadecimal."""


def refresh(settings: NixSettings, progress: Callable[[str], None]) -> PackageSet:
    """Make a package set of apt's present lists; the same lists give the same pin. Blocks for seconds.

    Raises CacheError if apt has no lists.
    """
    raise NotImplementedError


def load(settings: NixSettings, pin: str) -> PackageSet:
    """Open the package set `pin`. Raises CacheError if this host does not have it."""
    raise NotImplementedError
