"""Versions of single packages of a package set."""

import re
from collections.abc import Iterable

from nix.index import compare
from nix.package_set import open_once
from nix.settings import NixSettings


def versions(settings: NixSettings, pin: str, names: Iterable[str]) -> dict[str, str]:
    """Return the upstream versions of those names that the package set has, by name.

    A name that packages provide has the version of the first of them. Only the lines of these packages are
    kept in memory, and not beyond this call, which takes a second or two.

    Raises:
        CacheError: neither this host nor the binary cache has the package set.
    """
    index = open_once(settings.cache_dir, settings.binary_cache_dir, pin).index
    found = {name: index.package(candidate) for name in names for candidate in index.candidates(name)[:1]}
    return {name: upstream(package.version) for name, package in found.items() if package}


def upstream(version: str) -> str:
    """Return a Debian version as the authors of the program know it, such as 12.2.0 of `4:12.2.0-3`.

    Epoch and revision are left out, and what Debian appends, such as `+dfsg`, `~deb12u1` or `+really`.
    """
    bare = compare(version).upstream_version or version
    return re.split(r"[+~]|\.dfsg", bare.rpartition("+really")[2])[0]
