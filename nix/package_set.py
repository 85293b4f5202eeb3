"""The Debian package set: names, versions and archives of every package, as of one moment.

A set is a folder in `cache_dir`, complete in itself and never changed, named by its pin:

    index               see nix.index
    set.json            the fields of PackageSet
    pkgs/default.nix    `import <pkgs> { }`
    pkgs/names.json     the names that expressions and requests may use
"""

import hashlib
import io
import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from nix import apt, index
from nix.errors import CacheError
from nix.index import Index
from nix.settings import NixSettings

SOURCES = Path(__file__).parent
CONTENT = ("index", "pkgs/names.json", "pkgs/default.nix")
"""The files whose contents the pin is a hash of."""


@dataclass(frozen=True)
class PackageSet:
    """Description of a package set, as set.json holds it."""

    name: str
    """Name of the set, such as `debian-13`; `debian` is the host's, as earlier versions made it."""
    pin: str
    """Identifier of the set in submissions and on topics, derived from its name, date and contents."""
    index_digest: str
    """SHA-256 of the index, hexadecimal."""
    date: str
    """Day on which the distribution released the packages, `YYYY-MM-DD`."""
    architecture: str
    """Debian's name of the architecture, such as `amd64`."""


@dataclass(frozen=True)
class Names:
    """The names that requests may use, besides those of the index."""

    base: list[str]
    """Debian packages that are in every environment."""
    aliases: Mapping[str, list[str]]
    """Debian packages by the name of the equivalent in nixpkgs."""
    sets: Mapping[str, Mapping[str, str]]
    """Debian packages by the name of a set such as python3Packages and of its member."""


class OpenPackageSet:
    """The contents of a package set, read on first use."""

    def __init__(self, folder: Path) -> None:
        self.set = PackageSet(**json.loads((folder / "set.json").read_text()))
        self.expressions = folder / "pkgs"
        """Folder that expressions import as `<pkgs>`."""
        self._folder = folder

    @cached_property
    def index(self) -> Index:
        """The packages of the set.

        Raises:
            CacheError: the digest of the file is not that of the description.
        """
        file = (self._folder / "index").open("rb")
        if hashlib.file_digest(file, "sha256").hexdigest() != self.set.index_digest:
            file.close()
            raise CacheError(f"the index of package set {self.set.pin} is damaged: remove {self._folder}")
        file.seek(0)
        return Index(file)

    @cached_property
    def names(self) -> Names:
        """The names of the set besides those of its index."""
        value = json.loads((self.expressions / "names.json").read_text())
        sets = {name: content["members"] for name, content in value["sets"].items()}
        return Names(value["base"], value["aliases"], sets)


def load(settings: NixSettings, pin: str) -> OpenPackageSet:
    """Open the package set `pin`; fetch it from the binary cache if this host does not have it.

    Raises:
        CacheError: neither this host nor the binary cache has the package set.
    """
    return _load(settings.cache_dir, settings.binary_cache_dir, pin)


@lru_cache(maxsize=4)
def _load(cache_dir: Path, binary_cache_dir: Path | None, pin: str) -> OpenPackageSet:
    return open_once(cache_dir, binary_cache_dir, pin)


def open_once(cache_dir: Path, binary_cache_dir: Path | None, pin: str) -> OpenPackageSet:
    """Open a package set as `load` does, without keeping it in memory for later calls.

    Raises:
        CacheError: neither this host nor the binary cache has the package set.
    """
    folder = _folder(cache_dir, pin)
    if not folder.is_dir():
        if binary_cache_dir is None or not _folder(binary_cache_dir, pin).is_dir():
            raise CacheError(f"this host does not have the package set {pin}")
        _fetch(_folder(binary_cache_dir, pin), pin, folder)
    return OpenPackageSet(folder)


def publish(settings: NixSettings, progress: Callable[[str], None]) -> None:
    """Copy the package sets of this host to the binary cache; report damaged ones and leave them out."""
    assert settings.binary_cache_dir
    for description in _folder(settings.cache_dir, "").glob("*/set.json"):
        pin = description.parent.name
        folder = _folder(settings.binary_cache_dir, pin)
        if not folder.is_dir():
            try:
                _fetch(description.parent, pin, folder)
                progress(f"published the package set {pin}")
            except CacheError as error:
                progress(f"left out the package set {pin}: {error}")


def _fetch(source: Path, pin: str, folder: Path) -> None:
    """Copy a package set from one folder to another, if its contents match its pin.

    Raises:
        CacheError: the set is unreadable, does not match its pin, or cannot be written.
    """
    try:
        described = PackageSet(**json.loads((source / "set.json").read_bytes()))
        files = {name: (source / name).read_bytes() for name in CONTENT}
    except (OSError, ValueError, TypeError) as error:
        raise CacheError(f"the package set {pin} in {source.parent} cannot be read: {error}") from error
    package_set = _describe(described.name, described.date, described.architecture, files)
    if package_set.pin != pin:
        raise CacheError(f"the contents of {source} do not match its pin: remove it")
    try:
        _publish(folder, package_set, files)
    except OSError as error:
        raise CacheError(f"the package set {pin} cannot be kept in {folder.parent}: {error}") from error


def refresh(settings: NixSettings, progress: Callable[[str], None], name: str | None = None) -> PackageSet:
    """Make a package set of apt's lists; the same lists give the same pin. Blocks for seconds.

    `name` is that of a set such as `debian-13`, by default that of the host's own release. The lists of the
    host's release are taken as they are; those of other releases are updated first. A set that was made of
    the same lists before, for another system of this host, is used again.

    Raises:
        CacheError: apt has no lists or sources, cannot reach them, or is not installed.
    """
    name = name or apt.host_set()
    architecture = apt.output("dpkg", "--print-architecture").strip()
    with apt.updated(settings, name):
        lists = [
            known
            for known in apt.package_lists(settings, name)
            if known.architecture in (architecture, "all")
        ]
        if not lists:
            raise CacheError(f"apt has no package lists of {name}: run `apt-get update`")
        note = settings.cache_dir / "package-sets" / f"{_digest(name, architecture, lists)}.made"
        files = _made_before(settings.cache_dir, note)
        if files is None:
            progress(f"reading {len(lists)} package lists of {name}")
            texts = [
                (known.repository, apt.output(apt.HELPER, "cat-file", known.filename)) for known in lists
            ]
            progress("writing the index")
            files = _make(texts)
        date = _release_date(Path(known.filename).parent for known in lists)
    package_set = _describe(name, date, architecture, files)
    for cache in filter(None, (settings.cache_dir, settings.binary_cache_dir)):
        _publish(_folder(cache, package_set.pin), package_set, files)
    note.write_text(package_set.pin)
    progress(f"package set {package_set.pin}")
    return package_set


def _digest(set_name: str, architecture: str, lists: Iterable[apt.PackageList]) -> str:
    """Return a digest of a package set's inputs: apt's lists, debian.toml, and the code that reads them."""
    digest = hashlib.sha256(f"{set_name}\0{architecture}".encode())
    for known in lists:
        content = hashlib.sha256(Path(known.filename).read_bytes()).digest()
        digest.update(f"\0{known.repository}\0".encode() + content)
    for name in ("debian.toml", "pkgs/default.nix", "index.py", "package_set.py"):
        digest.update(hashlib.sha256((SOURCES / name).read_bytes()).digest())
    return digest.hexdigest()


def _made_before(cache_dir: Path, note: Path) -> dict[str, bytes] | None:
    """Return the files of the package set whose pin the note holds; None if they are missing or changed."""
    try:
        pin = note.read_text()
        folder = _folder(cache_dir, pin)
        described = PackageSet(**json.loads((folder / "set.json").read_bytes()))
        files = {name: (folder / name).read_bytes() for name in CONTENT}
    except (OSError, ValueError, TypeError):
        return None
    described = _describe(described.name, described.date, described.architecture, files)
    return files if described.pin == pin else None


def _make(lists: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    choices = tomllib.loads((SOURCES / "debian.toml").read_text())
    content = index.write(lists, set(choices["left_out"]), choices["preferred"])
    names = json.dumps(make_names(Index(io.BytesIO(content)), choices), sort_keys=True, separators=(",", ":"))
    expressions = (SOURCES / "pkgs/default.nix").read_bytes()
    return {"index": content, "pkgs/default.nix": expressions, "pkgs/names.json": names.encode()}


def _describe(name: str, date: str, architecture: str, files: Mapping[str, bytes]) -> PackageSet:
    """Describe files. The pin has 128 bits of a hash, since other hosts verify the files by it."""
    index_digest = hashlib.sha256(files["index"]).hexdigest()
    parts = [index_digest, *(files[file].decode() for file in CONTENT[1:]), architecture]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return PackageSet(name, f"{name}-{date}-{digest[:32]}", index_digest, date, architecture)


def make_names(packages: Index, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of names.json: the index's names, and aliases and sets whose packages it has."""
    aliases = {
        name: targets for name, targets in choices["aliases"].items() if all(map(packages.package, targets))
    } | {name: targets for name, targets in choices["versions"].items() if _is_version(packages, *targets)}
    sets = {
        name: {"package": rule["package"], "members": _members(packages, rule)}
        for name, rule in choices["sets"].items()
        if packages.package(rule["package"])
    }
    return {"base": choices["base"], "packages": [*packages.names()], "aliases": aliases, "sets": sets}


def _is_version(packages: Index, name: str, version: str) -> bool:
    """Return whether the package `name` is of the version that the package `version` has: needs that one."""
    package = packages.package(name)
    return package is not None and (version,) in package.depends


def _members(packages: Index, rule: Mapping[str, Any]) -> dict[str, str]:
    """Return Debian packages by member of a set: by prefix and suffix, and by the names of the rule."""
    prefix, suffix = rule["prefix"], rule["suffix"]
    members = {
        name[len(prefix) : len(name) - len(suffix)]: name
        for name in packages.names()
        if name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix) + len(suffix)
    }
    own = {name: f"{prefix}{target}{suffix}" for name, target in rule.get("names", {}).items()}
    return members | {name: target for name, target in own.items() if packages.package(target)}


def _release_date(folders: Iterable[Path]) -> str:
    """Return the latest date of the Release files among apt's lists, or `undated`."""
    releases = [file.read_text() for folder in set(folders) for file in folder.glob("*Release")]
    dates = [match.group(1) for text in releases if (match := re.search(r"^Date: (.+)$", text, re.MULTILINE))]
    return max((parsedate_to_datetime(date).date().isoformat() for date in dates), default="undated")


def _folder(cache_dir: Path, pin: str) -> Path:
    return cache_dir / "package-sets" / pin


def _publish(folder: Path, package_set: PackageSet, files: Mapping[str, bytes]) -> None:
    """Write a package set atomically; an existing one is not replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        for name, content in {**files, "set.json": json.dumps(asdict(package_set)).encode()}.items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).parent.chmod(0o755)  # the sandbox's user reads it, whatever the umask
            (draft / name).write_bytes(content)
            (draft / name).chmod(0o644)
        if not folder.exists():
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
