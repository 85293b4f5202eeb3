"""The Cache keeps within its limit, takes nothing from anybody who uses it, and tells before it does."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nix import eviction
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Packages
from nix.errors import EnvironmentNotFoundError
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.archives import Member, deb, make_package_set
from tests.system.nix.conftest import Host

SIZE = 1 << 20
SHARED = b"shared" + bytes(SIZE)
NUMBER = 8
LIMIT = 6 * SIZE


class Small:
    """A Cache of its own, and packages of 1 MiB each, with 1 MiB that is the same in all of them."""

    def __init__(self, host: Host, sandboxes: Sandboxes, root: Path) -> None:
        self.settings = NixSettings(nix_root=root / "nix", cache_dir=root / "cache", cache_limit_bytes=LIMIT)
        own = {f"p{n}": Member(f"./usr/own{n}", bytes([n]) + os.urandom(SIZE)) for n in range(NUMBER)}
        debs = {name: deb([Member("./usr/shared", SHARED), member]) for name, member in own.items()}
        self.pin = make_package_set(self.settings, debs)
        self.loop = host.loop
        self.runner = SandboxRunner(sandboxes)
        self.cache = Cache(self.settings, self.runner)
        self.told: list[str] = []
        self.kept: set[str] = set()

    async def announce(self, store_path: str) -> bool:
        self.told.append(store_path)
        return store_path not in self.kept

    def install(self, name: str) -> InstalledEnvironment:
        work = self.cache.install(Packages((name,)), self.pin, BuildLimits(), lambda _: None, self.announce)
        return self.loop.run(work)

    def make_room(self) -> None:
        self.loop.run(self.cache.make_room(self.announce))

    def evict(self, installed: InstalledEnvironment) -> bool:
        return self.loop.run(self.cache.evict(installed.store_path, self.announce))

    def has(self, installed: InstalledEnvironment) -> bool:
        try:
            with self.cache.hold(installed.store_path) as tree:
                return (tree / "usr/shared").exists()
        except EnvironmentNotFoundError:
            return False

    def on_disk(self, installed: InstalledEnvironment) -> bool:
        return (self.settings.nix_root / installed.store_path[1:]).exists()

    def verify(self) -> None:
        command = [
            "nix-store",
            "--store",
            f"local?root={self.settings.nix_root}",
            "--verify",
            "--check-contents",
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
        assert "error" not in ran.stderr
        assert "modified" not in ran.stderr


@pytest.fixture
def small(host: Host, sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    monkeypatch.setattr(eviction, "JUST_USED_S", 0.0)
    root = Path(tempfile.mkdtemp(prefix="envicutor-eviction-"))
    root.chmod(0o755)
    try:
        yield Small(host, sandboxes, root)
    finally:
        shutil.rmtree(root)


def test_what_was_used_longest_ago_goes_and_the_limit_holds(small: Small) -> None:
    installed = []
    for n in range(NUMBER):
        installed.append(small.install(f"p{n}"))
        if n:
            assert small.has(installed[0])  # which uses it
    small.make_room()
    assert eviction.disk_bytes(small.cache._store) <= LIMIT
    there = [n for n, one in enumerate(installed) if small.has(one)]
    assert there[0] == 0
    assert there[1:] == list(range(NUMBER - len(there) + 1, NUMBER))
    assert len(there) >= 2
    assert small.told == [one.store_path for n, one in enumerate(installed) if n not in there]
    assert not any(small.on_disk(one) for n, one in enumerate(installed) if n not in there)
    small.verify()


def test_what_is_shared_counts_once_and_stays(small: Small) -> None:
    first = small.install("p0")
    one = eviction.disk_bytes(small.cache._store)
    second = small.install("p1")
    two = eviction.disk_bytes(small.cache._store)
    assert SIZE <= two - one < 1.5 * SIZE
    assert small.evict(first)
    small.loop.run(small.cache._store.collect_garbage())
    assert eviction.disk_bytes(small.cache._store) < two - 0.9 * SIZE
    assert small.has(second)


HOLDER = """
import sys, time
from pathlib import Path
from nix.cache import Cache
from nix.settings import NixSettings
with Cache(NixSettings(nix_root=Path(sys.argv[1])), None).hold(sys.argv[2]):
    print("held", flush=True)
    time.sleep(1000)
"""


@contextlib.contextmanager
def holder(small: Small, installed: InstalledEnvironment) -> Iterator[subprocess.Popen[str]]:
    """Another process, which uses an environment."""
    argv = [sys.executable, "-c", HOLDER, str(small.settings.nix_root), installed.store_path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_what_another_process_uses_stays_until_that_is_killed(small: Small) -> None:
    used = small.install("p0")
    with holder(small, used) as process:
        assert not small.evict(used)
        for n in range(1, NUMBER):
            small.install(f"p{n}")
        assert small.has(used)
        assert used.store_path not in small.told
        process.kill()
        process.wait()
        assert small.evict(used)
    assert not small.has(used)


def test_what_must_stay_stays(small: Small) -> None:
    installed = small.install("p0")
    small.kept.add(installed.store_path)
    assert not small.evict(installed)
    for n in range(1, NUMBER):
        small.install(f"p{n}")
    assert small.has(installed)


def test_what_was_just_installed_stays(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eviction, "JUST_USED_S", 1000.0)
    installed = [small.install(f"p{n}") for n in range(NUMBER)]
    small.make_room()
    assert all(map(small.has, installed))
    assert not small.told


def test_what_was_evicted_is_built_again(small: Small) -> None:
    first = small.install("p0")
    assert small.evict(first)
    assert not small.has(first)
    assert small.install("p0").store_path == first.store_path
    assert small.has(first)


def test_who_dies_between_the_announcement_and_the_end_does_no_harm(small: Small) -> None:
    installed = small.install("p0")

    async def die(_: str) -> bool:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        small.loop.run(small.cache.evict(installed.store_path, die))
    assert small.has(installed)
    assert small.evict(installed)


def test_garbage_goes_before_what_can_be_used(small: Small) -> None:
    installed = [small.install(f"p{n}") for n in range(4)]
    assert small.evict(installed[0])
    assert small.on_disk(installed[0])
    small.install("p5")
    small.install("p6")
    assert not small.on_disk(installed[0])
    assert all(map(small.has, installed[1:]))


def test_finding_and_using_cost_next_to_nothing(small: Small) -> None:
    small.install("p0")
    started = time.monotonic()
    for _ in range(100):
        small.install("p0")
    assert time.monotonic() - started < 5.0  # ten times what is usual
