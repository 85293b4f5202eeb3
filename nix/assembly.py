"""One environment made of unpacked archives: their files in one tree, and what is computed over all."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nix import bytecode, farm, layout
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
    tree = work / "tree"
    lower = await _lower(contents.packages, trees, work, installation)
    await asyncio.to_thread(_write_lower, tree, lower, store.environment_bytes)
    _write_inputs(work, lower, contents)
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
    await asyncio.to_thread(_apply, tree, lower.layout, store.physical(store_path))
    return Assembled(tree, store_path.replace("-changes", "-environment"), built.log)


async def _lower(
    packages: Sequence[Package], trees: BuildTrees, work: Path, installation: Installation
) -> Lower:
    places = {package.sha256: trees.folder(archive_tree(package)) for package in packages}
    found = await asyncio.to_thread(
        lambda: {digest: list(layout.scan(tree / "files")) for digest, tree in places.items()}
    )
    files = layout.merge(found.values())
    compiled = {}
    for interpreter in bytecode.interpreters(packages, installation):
        modules = interpreter.modules(
            {digest: [path for path, _ in entries] for digest, entries in found.items()}
        )
        archives = {
            package.sha256: (package, places[package.sha256])
            for package in packages
            if package.sha256 in modules
        }
        await bytecode.make(interpreter, archives, trees, work, installation)
        compiled[interpreter.name] = [
            module
            for digest, (package, tree) in archives.items()
            for module in bytecode.add(
                files, modules[digest], tree, trees.folder(interpreter.tree_of(package))
            )
        ]
    scripts = {digest: tree / "postinst" for digest, tree in places.items() if (tree / "postinst").is_file()}
    return Lower(files, compiled, scripts)


def _write_lower(tree: Path, lower: Lower, environment_bytes: int) -> None:
    size = sum(os.stat(entry.source).st_size for entry in lower.layout.values() if entry.kind == "file")  # noqa: PTH116
    if size > environment_bytes:
        raise LimitError(
            f"the packages unpack to {size >> 20} MiB; an environment may take {environment_bytes >> 20} MiB "
            "(environment_bytes)"
        )
    make_readable(tree)
    farm.write(tree, {}, lower.layout)


def _write_inputs(work: Path, lower: Lower, contents: Contents) -> None:
    """Write what the build reads besides the files of the archives."""
    for name in ("scripts", "compiled", "files"):
        (work / name).mkdir()
        (work / name).chmod(0o755)
    for digest, script in lower.scripts.items():
        shutil.copy(script, work / "scripts" / digest)
    for python, modules in lower.compiled.items():
        file = work / "compiled" / python
        file.write_text("".join(f"{module}\n" for module in sorted(modules)))
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


def _apply(tree: Path, lower: Mapping[str, Entry], changes: Path) -> None:
    """Put what the build changed into the tree, and seal it.

    Raises:
        DependenciesError: the packages made links of folders that sandboxes mount. Such a mount would lead to
            folders of the host.
    """
    paths = (changes / "removed").read_bytes().split(b"\0")
    removed = {os.fsdecode(path).removeprefix("./") for path in paths if path}
    final = layout.change(lower, removed, layout.scan(changes / "written"))
    if wrong := layout.not_folders(final, FOLDERS):
        raise DependenciesError(f"the packages make /{wrong[0]} something else than a folder")
    farm.write(tree, lower, final)
    farm.seal(tree, final)
