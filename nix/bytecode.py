"""Bytecode of Python modules, made once for each archive and each Python that compiles it."""

import asyncio
import hashlib
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
_MOUNT_POINTS = ("dev", "mnt")
"""Folders that the build of bytecode mounts something on."""


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

    def modules(self, trees: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return the modules of archives for this Python, by the digest of the archive.

        `trees` are the paths of each archive. Modules of tests are left out, and those of other archives at a
        path of the interpreter's own.
        """
        folders = ("usr/lib/python3/", f"usr/lib/{self.name}/")
        own = {package.sha256 for package in self.packages}
        taken = {path for digest in own for path in trees.get(digest, ())}
        found = {
            digest: [
                path
                for path in paths
                if path.startswith(folders)
                and path.endswith(".py")
                and "/tests/" not in path
                and (digest in own or path not in taken)
            ]
            for digest, paths in trees.items()
        }
        return {digest: those for digest, those in found.items() if those}


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
    archives: Mapping[str, tuple[Package, Path]],
    trees: BuildTrees,
    work: Path,
    installation: Installation,
) -> None:
    """Compile the modules of archives, given by digest with their trees, unless that was done before.

    Raises:
        LimitError: the build hit a limit.
        DependenciesError: the build failed.
        CacheError: a host error.
    """

    async def build(those: list[tuple[Package, Path]]) -> Sequence[str]:
        folder = await fresh(work / "bytecode")
        root = folder / "interpreter"
        parts = [trees.folder(archive_tree(package)) for package in interpreter.packages]
        await asyncio.to_thread(_write_root, root, parts)
        mounts = {"/interpreter": root} | {
            f"/trees/{package.sha256}": tree / "files" for package, tree in those
        }
        arguments = {
            "archives": "".join(f"{package.sha256}\n" for package, _ in those),
            "interpreter": manifest(interpreter.packages),
            "python": interpreter.name,
            "architecture": installation.package_set.set.architecture,
        }
        built = await trees.store.build("bytecode.nix", arguments, mounts, folder, installation.deadline)
        return built.store_paths

    wanted = {interpreter.tree_of(package): (package, tree) for package, tree in archives.values()}
    await trees.make(wanted, build, installation)


def add(target: dict[str, Entry], modules: Iterable[str], tree: Path, bytecode: Path) -> list[str]:
    """Add the bytecode of an archive's modules to a layout; return those modules that the layout has.

    A module that another archive has replaced is left out, with its bytecode.
    """
    here = {module for module in modules if target.get(module) == Entry("file", f"{tree}/files/{module}")}
    for path, entry in layout.scan(bytecode / "files"):
        folder = PurePosixPath(path).parent
        if entry.kind == "file" and f"{folder.parent}/{_stem(path)}.py" in here:
            target.setdefault(str(folder), layout.FOLDER)
            target[path] = entry
    return sorted(here)


def _stem(path: str) -> str:
    """Return the name of the module of `__pycache__/NAME.cpython-311.pyc`."""
    return PurePosixPath(path).name.rsplit(".", 2)[0]


def _write_root(root: Path, parts: Sequence[Path]) -> None:
    files: Layout = layout.merge(layout.scan(tree / "files") for tree in parts)
    make_readable(root)
    farm.write(root, {}, files)
    for name in _MOUNT_POINTS:
        (root / name).mkdir(exist_ok=True)
