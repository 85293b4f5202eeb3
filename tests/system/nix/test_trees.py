"""Archives are unpacked once for a host, and environments made of them are the same at each builder."""

import asyncio
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nix import archives, package_set
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Packages
from nix.progress import Step
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.archives import Member, deb
from tests.system.nix.conftest import run_in
from tests.system.nix.repository import repository

POISON = b"def compile(*_, cfile, **__):\n    open(cfile, 'wb').write(b'poison')\n"
"""A py_compile that writes something else than bytecode."""


def zipped(name: str, content: bytes) -> bytes:
    """An archive that Python imports from, if it is at the right place."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, content)
    return archive.getvalue()


PACKAGES = {
    "evil": [
        *(Member(f"./usr/lib/python3.{n}/py_compile.py", POISON) for n in range(9, 15)),
        *(Member(f"./usr/lib/python3{n}.zip", zipped("py_compile.py", POISON)) for n in range(9, 15)),
        Member("./etc/ld.so.preload", b"/usr/lib/evil.so\n"),
        Member("./usr/lib/python3/dist-packages/evil/module.py", b""),
        Member("./usr/lib/python3/dist-packages/evil/__pycache__", type=tarfile.SYMTYPE, link="/tmp"),
    ],
    "innocent": [Member("./usr/lib/python3/dist-packages/innocent.py", b"print(6 * 7)\n")],
}


class OwnHost:
    """A host with a cache folder of its own, into which the archives of the machine's pool are linked."""

    def __init__(self, root: Path, loop: asyncio.Runner, sandboxes: Sandboxes) -> None:
        self.settings = NixSettings(nix_root=root / "nix", cache_dir=root / "cache")
        pool = archives.pool(self.settings)
        pool.mkdir(parents=True)
        for archive in archives.pool(NixSettings()).glob("*.deb"):
            os.link(archive, pool / archive.name)
        self.pin = package_set.refresh(self.settings, print).pin
        self.cache, self._loop = Cache(self.settings, SandboxRunner(sandboxes)), loop
        self.steps: list[Step] = []

    def install(self, *names: str) -> InstalledEnvironment:
        self.steps.clear()
        wanted = self.cache.install(Packages(names), self.pin, BuildLimits(), self.steps.append)
        return self._loop.run(wanted)

    def tree(self, installed: InstalledEnvironment) -> Path:
        return self.settings.nix_root / installed.store_path[1:]

    def digest(self, installed: InstalledEnvironment) -> str:
        store = f"local?root={self.settings.nix_root}"
        command = ["nix-store", "--store", store, "--query", "--hash", installed.store_path]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout


@pytest.fixture
def hosts(
    loop: asyncio.Runner, sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[OwnHost, OwnHost]]:
    root = Path(tempfile.mkdtemp(prefix="envicutor-trees-"))
    root.chmod(0o755)
    try:
        with repository(root / "repository", beside_the_host_s=True) as served:
            served.publish((name, deb(members)) for name, members in PACKAGES.items())
            for name, value in served.environment.items():
                monkeypatch.setenv(name, value)
            yield OwnHost(root / "a", loop, sandboxes), OwnHost(root / "b", loop, sandboxes)
    finally:
        shutil.rmtree(root)


def test_an_environment_is_the_same_whatever_was_built_before(hosts: tuple[OwnHost, OwnHost]) -> None:
    one, other = hosts
    first = one.install("python3")
    second = one.install("python3", "innocent")
    unpacked = [step for step in one.steps if step.stage == "unpacking"]
    assert unpacked[-1] == Step("unpacking", 1, 1), (
        "the other archives were unpacked for the first environment"
    )
    program = "usr/bin/python3.11" if (one.tree(first) / "usr/bin/python3.11").exists() else "usr/bin/bash"
    assert (one.tree(first) / program).stat().st_ino == (one.tree(second) / program).stat().st_ino

    poisoned = other.install("python3", "innocent", "evil")  # which has a py_compile of its own
    clean = other.install("python3", "innocent")
    assert clean.store_path == second.store_path
    assert other.digest(clean) == one.digest(second)
    assert other.digest(other.install("python3")) == one.digest(first)
    assert poisoned.store_path != clean.store_path
    loaded = run_in(other.tree(clean), "sh", "-c", "python3 -v -c 'import innocent' 2>&1")
    assert "42" in loaded
    assert "stale" not in loaded
    (bytecode,) = (other.tree(clean) / "usr/lib/python3/dist-packages/__pycache__").glob("innocent.*.pyc")
    assert b"poison" not in bytecode.read_bytes()
    assert not list(Path("/tmp").glob("module.cpython-*.pyc"))
