"""Bytecode of Python modules, made once for each archive and each Python that compiles it."""

import asyncio
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nix import farm, layout, resolve
from nix.contents import manifest
from nix.errors import DependenciesError
from nix.folders import fresh, make_readable
from nix.index import Package
from nix.installation import Installation
from nix.layout import Entry, Layout
from nix.trees import BuildTrees, archive_tree

_INTERPRETER = re.compile(r"(python3\.[0-9]+)-minimal")
"""Package that has the program /usr/bin/python3.N."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of an environment, with the archives that it consists of."""

    name: str
    """Name of its program in /usr/bin, such as `python3.11`."""
    packages: Sequence[Package]

    @property
    def digest(self) -> str:
        """Return 32 hex digits of a hash of the archives."""
        return hashlib.sha256(manifest(self.packages).encode()).hexdigest()[:32]

    def tree_of(self, package: Package) -> str:
        """Return the name of the tree with the bytecode of an archive's modules."""
        return f"{archive_tree(package)}.{self.digest}"

    def modules(self, trees: Mapping[str, Sequence[tuple[str, Entry]]]) -> dict[str, list[str]]:
        """Return the modules of archives for this Python, by the digest of the archive.

        `trees` are the paths of each archive. Left out are modules of tests, a third of all, which only tests
        import; links, except for those of the Python's own; and modules at a path of the Python's own.
        """
        folders = ("usr/lib/python3/", f"usr/lib/{self.name}/")
        own = {package.sha256 for package in self.packages}
        taken = {path for digest in own for path, _ in trees.get(digest, ())}
        found = {
            digest: [
                path
                for path, entry in entries
                if path.startswith(folders)
                and path.endswith(".py")
                and "/tests/" not in path
                and entry.kind != "folder"
                and (digest in own or (entry.kind == "file" and path not in taken))
            ]
            for digest, entries in trees.items()
        }
        return {digest: paths for digest, paths in found.items() if paths}


@dataclass(frozen=True)
class Archive:
    """An unpacked archive with modules."""

    package: Package
    tree: Path
    entries: Mapping[str, Entry]
    """Files of the archive by path."""
    modules: Sequence[str]
    """Paths of its modules for one Python."""


def interpreters(packages: Sequence[Package], installation: Installation) -> list[Interpreter]:
    """Return the Pythons among the packages of an environment, each with all that it needs to run.

    What it consists of depends on the package set alone, so that environments share bytecode. A Python whose
    packages are not all in the environment is left out; the build of the environment compiles with it.
    """
    present = {package.sha256 for package in packages}
    names = [found[1] for package in packages if (found := _INTERPRETER.fullmatch(package.name))]
    whole = []
    for name in names:
        try:
            closure = resolve.closure(
                [*installation.package_set.names.base, name], installation.package_set.index
            )
        except DependenciesError:
            continue
        if present >= {package.sha256 for package in closure}:
            whole.append(Interpreter(name, closure))
    return whole


async def make(
    interpreter: Interpreter,
    archives: Mapping[str, Archive],
    trees: BuildTrees,
    work: Path,
    installation: Installation,
) -> None:
    """Compile the modules of archives, given by digest, unless that was done before.

    Raises:
        LimitError: the build hit a limit.
        DependenciesError: the build failed.
        CacheError: a host error.
    """

    async def build(missing: list[Archive]) -> Sequence[str]:
        folder = await fresh(work / "bytecode")
        parts = [trees.folder(archive_tree(package)) for package in interpreter.packages]
        await asyncio.to_thread(_write_inputs, folder, parts, missing)
        mounts = {"/interpreter": folder / "interpreter", "/modules": folder / "modules"} | {
            f"/trees/{archive.package.sha256}": archive.tree / "files" for archive in missing
        }
        arguments = {
            "archives": "".join(f"{archive.package.sha256}\n" for archive in missing),
            "interpreter": manifest(interpreter.packages),
            "python": interpreter.name,
            "architecture": installation.package_set.set.architecture,
        }
        built = await trees.store.build("bytecode.nix", arguments, mounts, folder, installation.deadline)
        return built.store_paths

    wanted = {interpreter.tree_of(archive.package): archive for archive in archives.values()}
    await trees.make(wanted, build, installation)


def add(target: dict[str, Entry], archive: Archive, bytecode: Path) -> list[str]:
    """Add the bytecode of an archive's modules to a layout; return those modules that need no other.

    A module that another archive has replaced is left out, and one whose `__pycache__` is no folder.
    """
    added = {module for module in archive.modules if _is_there(target, module, archive)}
    for path, entry in layout.scan(bytecode / "files"):
        folder = PurePosixPath(path).parent
        if entry.kind == "file" and f"{folder.parent}/{_stem(path)}.py" in added:
            target.setdefault(str(folder), layout.FOLDER)
            target[path] = entry
    return sorted(added)


def _is_there(target: Layout, module: str, archive: Archive) -> bool:
    """Return whether a layout has a module of an archive, and room for its bytecode."""
    entry, path = target.get(module), PurePosixPath(module)
    cache = target.get(str(path.parent / "__pycache__"), layout.FOLDER)
    is_own = entry is not None and entry == archive.entries.get(module)
    return is_own and cache == layout.FOLDER


def _stem(path: str) -> str:
    """Return the name of the module of `__pycache__/NAME.cpython-311.pyc`."""
    return PurePosixPath(path).name.rsplit(".", 2)[0]


def _write_inputs(folder: Path, parts: Sequence[Path], archives: Iterable[Archive]) -> None:
    """Write what the build reads: the files of the interpreter, and lists of modules."""
    root, lists = folder / "interpreter", folder / "modules"
    make_readable(root)
    make_readable(lists)
    farm.write(root, {}, layout.merge(layout.scan(tree / "files") for tree in parts))
    for archive in archives:
        file = lists / archive.package.sha256
        file.write_bytes(b"".join(os.fsencode(module) + b"\n" for module in archive.modules))
        file.chmod(0o644)
