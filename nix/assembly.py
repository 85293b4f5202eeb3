"""One environment made of unpacked archives: their files in one tree, and what is computed over all."""

import asyncio
import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from nix import bytecode, farm, layout
from nix.bytecode import Archive
from nix.contents import ENVIRONMENT_FORMAT, Contents, manifest
from nix.errors import DependenciesError, LimitError
from nix.folders import make_readable
from nix.index import Package
from nix.installation import Installation
from nix.layout import Entry
from nix.nix_store import NixStore
from nix.progress import Step
from nix.trees import BuildTrees, archive_tree

FOLDERS = ("usr", "etc", "var", "var/lib")
"""The folders of an environment that sandboxes mount, with their parents."""
MOST_PATHS = 1_000_000
"""Files, folders and links of an environment. Packages of empty files would fill the memory otherwise."""


LONGEST_PATH = 4096
"""Bytes of a path, as the kernel's PATH_MAX."""


@dataclass(frozen=True)
class Assembled:
    """A finished tree, which is to be registered as a path of the Nix store."""

    tree: Path
    store_path: str
    log: str
    """Output of the maintainer scripts that failed, and of the caches' programs."""


@dataclass(frozen=True)
class RegistryLayer:
    """An archive of packages of other registries, which is unpacked below /usr/local."""

    archive: Path
    digest: str
    """SHA-256 of the archive, hexadecimal."""


@dataclass(frozen=True)
class Lower:
    """The files of all archives of an environment."""

    layout: dict[str, Entry]
    compiled: Mapping[str, Sequence[str]]
    """Modules with bytecode, by the Python that compiled them."""
    scripts: Mapping[str, Path]
    """Maintainer scripts by the digest of their archive."""


async def assemble(
    contents: Contents,
    layer: RegistryLayer | None,
    trees: BuildTrees,
    store: NixStore,
    work: Path,
    installation: Installation,
) -> Assembled:
    """Make the tree of an environment in a folder of its own; its archives are unpacked.

    Raises:
        LimitError: the build hit a limit.
        DependenciesError: the packages do not make an environment.
        CacheError: a host error.
    """
    with _names_of_packages():
        tree = work / "tree"
        lower = await _lower(contents.packages, trees, work, installation)
        await asyncio.to_thread(_write_lower, tree, lower, store.environment_bytes)
        await asyncio.to_thread(_write_inputs, work, lower, contents)
        mounts = {"/lower": tree, "/scripts": work / "scripts", "/compiled": work / "compiled"}
        arguments = {
            "archives": str(_write_manifest(work / "archives", contents.packages)),
            "files": str(work / "files"),
            "architecture": contents.architecture,
            "format": str(ENVIRONMENT_FORMAT),
            "layer": layer.digest if layer else "",
        }
        if layer:
            mounts["/layer.tar"] = layer.archive
        async with installation.build():
            installation.progress(Step("building"))
            built = await store.build("environment.nix", arguments, mounts, work, installation.deadline)
        (store_path,) = built.store_paths
        changes = store.physical(store_path)
        await asyncio.to_thread(_apply, tree, lower.layout, changes, store.environment_bytes)
        return Assembled(tree, store_path.replace("-changes", "-environment"), built.log)


@contextmanager
def _names_of_packages() -> Iterator[None]:
    """Turn errors that names of packages' files cause into a DependenciesError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.ENOENT):
            raise
        raise DependenciesError(f"the packages have a path that cannot be made: {error.strerror}") from error


async def _lower(
    packages: Sequence[Package], trees: BuildTrees, work: Path, installation: Installation
) -> Lower:
    places = {package.sha256: trees.folder(archive_tree(package)) for package in packages}
    entries = await asyncio.to_thread(_scan, places)
    compiled = {}
    for interpreter in bytecode.interpreters(packages, installation):
        modules = interpreter.modules(entries)
        archives = {
            package.sha256: Archive(
                package, places[package.sha256], dict(entries[package.sha256]), modules[package.sha256]
            )
            for package in packages
            if package.sha256 in modules
        }
        await bytecode.make(interpreter, archives, trees, work, installation)
        compiled[interpreter.name] = [
            (archive, trees.folder(interpreter.tree_of(archive.package))) for archive in archives.values()
        ]
    return await asyncio.to_thread(_merge, places, entries, compiled)


def _scan(places: Mapping[str, Path]) -> dict[str, list[tuple[str, Entry]]]:
    """Return the paths of unpacked archives, by digest.

    Raises:
        LimitError: there are too many.
    """
    found: dict[str, list[tuple[str, Entry]]] = {}
    left = MOST_PATHS
    for digest, tree in places.items():
        found[digest] = _bounded(layout.scan(tree / "files"), left)
        left -= len(found[digest])
    return found


def _bounded(entries: Iterable[tuple[str, Entry]], most: int) -> list[tuple[str, Entry]]:
    found = list(islice(entries, most + 1))
    if len(found) > most:
        raise LimitError(f"the packages have more than {MOST_PATHS} files, the limit of an environment")
    return found


def _merge(
    places: Mapping[str, Path],
    entries: Mapping[str, Sequence[tuple[str, Entry]]],
    compiled: Mapping[str, Sequence[tuple[Archive, Path]]],
) -> Lower:
    files = layout.merge(entries.values())
    modules = {
        python: [module for archive, tree in those for module in bytecode.add(files, archive, tree)]
        for python, those in compiled.items()
    }
    scripts = {digest: script for digest, tree in places.items() if _is_file(script := tree / "postinst")}
    return Lower(files, modules, scripts)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _write_lower(tree: Path, lower: Lower, environment_bytes: int) -> None:
    _check_size(lower.layout, environment_bytes)
    make_readable(tree)
    farm.write(tree, {}, lower.layout)


def _check_size(files: Mapping[str, Entry], environment_bytes: int) -> None:
    size = sum(Path(entry.source).stat().st_size for entry in files.values() if entry.kind == "file")
    if size > environment_bytes:
        raise LimitError(
            f"the packages unpack to {size >> 20} MiB; an environment may take {environment_bytes >> 20} MiB "
            "(environment_bytes)"
        )


def _write_inputs(work: Path, lower: Lower, contents: Contents) -> None:
    """Write what the build reads besides the files of the archives."""
    for name in ("scripts", "compiled", "files"):
        make_readable(work / name)
    for digest, script in lower.scripts.items():
        shutil.copy(script, work / "scripts" / digest)
    for python, modules in lower.compiled.items():
        file = work / "compiled" / python
        file.write_bytes(b"".join(os.fsencode(module) + b"\n" for module in sorted(modules)))
        file.chmod(0o644)
    for path, small in contents.files.items():
        file = work / "files" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(small.text)
        file.chmod(0o755 if small.executable else 0o644)


def _write_manifest(file: Path, packages: Sequence[Package]) -> Path:
    """Write the list of archives, which may be longer than the kernel lets an argument be."""
    file.write_text(manifest(packages))
    return file


def _apply(tree: Path, lower: Mapping[str, Entry], changes: Path, environment_bytes: int) -> None:
    """Put what the build changed into the tree, and seal it.

    Packages can write anything into the output of the build, so nothing here follows a link in it.

    Raises:
        DependenciesError: the output is not what it should be; or the packages made links of folders that
            sandboxes mount. Such a mount would lead to folders of the host.
        LimitError: the environment is too large.
    """
    left = _left(changes / "left", lower)
    final = layout.change(lower, left, _bounded(layout.scan(changes / "written"), MOST_PATHS))
    if wrong := layout.not_folders(final, FOLDERS):
        raise DependenciesError(f"the packages make /{wrong[0]} something else than a folder")
    _check_size(final, environment_bytes)
    farm.write(tree, lower, final)
    farm.seal(tree, final)


def _left(file: Path, lower: Mapping[str, Entry]) -> set[str]:
    """Return those paths of the archives that a build has left. The file may hold anything."""
    if not _is_file(file):
        raise DependenciesError("the packages damaged the list of files of the environment")
    left, rest = set(), b""
    with file.open("rb") as list_:
        while block := list_.read(1 << 20):
            *paths, rest = (rest + block).split(b"\0")
            left |= lower.keys() & {os.fsdecode(path).removeprefix("./") for path in paths}
            if len(rest) > LONGEST_PATH:
                raise DependenciesError("the packages damaged the list of files of the environment")
    return left
