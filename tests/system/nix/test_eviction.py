"""The Cache keeps within its limit, takes nothing from anybody who uses it, and tells before it does."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from nix import eviction, locks
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Packages
from nix.errors import EnvironmentNotFoundError
from nix.settings import NixSettings
from nix.trees import BuildTrees
from nix.turns import Unlimited
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.archives import Member, deb, make_package_set
from tests.system.nix.conftest import Host

SIZE = 1 << 20
SHARED = b"shared" + bytes(SIZE)
NUMBER = 8
LIMIT = 6 * SIZE


class Small:
    """A Cache of its own, packages of 1 MiB each, and one of 1 MiB that each environment has."""

    def __init__(self, host: Host, sandboxes: Sandboxes, root: Path) -> None:
        self.settings = NixSettings(nix_root=root / "nix", cache_dir=root / "cache", cache_limit_bytes=LIMIT)
        own = {f"p{n}": Member(f"./usr/own{n}", bytes([n]) + os.urandom(SIZE)) for n in range(NUMBER)}
        members = {**own, "shared": Member("./usr/shared", SHARED)}
        self.pin = make_package_set(self.settings, {name: deb([one]) for name, one in members.items()})
        self.loop = host.loop
        self.runner = SandboxRunner(sandboxes)
        self.cache = Cache(self.settings, self.runner)
        self.told: list[str] = []
        self.kept: set[str] = set()

    async def announce(self, store_path: str) -> bool:
        self.told.append(store_path)
        return store_path not in self.kept

    def install(self, name: str) -> InstalledEnvironment:
        wanted = Packages((name, "shared"))
        work = self.cache.install(wanted, self.pin, BuildLimits(), lambda _: None, self.announce)
        return self.loop.run(work)

    def used_bytes(self) -> int:
        return self.cache._eviction.used_bytes()

    def trees(self) -> set[str]:
        return set(self.cache._trees.names())

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
        for root in (self.settings.nix_root, self.settings.cache_dir / "trees"):
            command = ["nix-store", "--store", f"local?root={root}", "--verify", "--check-contents"]
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
    assert small.used_bytes() <= LIMIT
    there = [n for n, one in enumerate(installed) if small.has(one)]
    assert there[0] == 0
    assert there[1:] == list(range(NUMBER - len(there) + 1, NUMBER))
    assert len(there) >= 2
    assert small.told == [one.store_path for n, one in enumerate(installed) if n not in there]
    assert not any(small.on_disk(one) for n, one in enumerate(installed) if n not in there)
    small.verify()


def test_what_is_shared_counts_once_and_stays(small: Small) -> None:
    first = small.install("p0")
    one = small.used_bytes()
    second = small.install("p1")
    two = small.used_bytes()
    assert SIZE <= two - one < 1.5 * SIZE
    assert small.evict(first)
    small.loop.run(small.cache._store.collect_garbage())
    small.loop.run(small.cache._trees.remove_unused(float("inf")))
    assert small.used_bytes() < two - 0.9 * SIZE
    assert small.has(second)
    assert len(small.trees()) == 2


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


def test_unpacked_archives_that_no_environment_uses_go_first(small: Small) -> None:
    first = small.install("p0")
    assert small.evict(first)
    installed = [small.install(f"p{n}") for n in (1, 2, 3)]
    assert len(small.trees()) == 5
    installed.append(small.install("p4"))
    small.make_room()
    assert all(map(small.has, installed))
    assert len(small.trees()) == 5
    assert small.told == [first.store_path]


def test_an_archive_that_a_build_needs_stays_unpacked(small: Small, tmp_path: Path) -> None:
    small.install("p0")
    trees = small.cache._trees
    (small.settings.cache_dir / "pins").mkdir()
    pinned = BuildTrees(trees, small.settings.cache_dir / "pins")
    names = sorted(small.trees())
    assert small.loop.run(pinned.pin(names)) == []
    small.evict(small.install("p0"))
    small.loop.run(small.cache._store.collect_garbage())
    assert not small.loop.run(trees.remove_unused(float("inf")))
    shutil.rmtree(small.settings.cache_dir / "pins")
    assert small.loop.run(trees.remove_unused(float("inf")))
    assert small.loop.run(pinned.pin(names)) == names


def test_what_a_crash_left_is_made_again(small: Small) -> None:
    first = small.install("p0")
    assert small.evict(first)
    small.loop.run(small.cache._store.collect_garbage())
    remains = small.settings.nix_root / first.store_path[1:]
    remains.mkdir()  # a process was killed before Nix knew of it
    (remains / "usr").touch()
    for name in small.trees():  # a power failure
        tree = small.cache._trees.find(name)
        assert tree
        shutil.rmtree(tree)
    assert small.install("p0").store_path == first.store_path
    assert small.has(first)
    small.verify()


def test_an_installation_that_waits_for_its_key_holds_no_slot(small: Small) -> None:
    class Slots(Unlimited):
        """Turns with one slot for preparations."""

        def __init__(self) -> None:
            self.preparations = asyncio.Semaphore(1)

        def preparation(self) -> AbstractAsyncContextManager[None]:
            return self.preparations

    installed = small.install("p0")
    (record,) = (small.settings.nix_root / "environments").glob("*.json")
    key = small.settings.nix_root / "locks" / f"{record.stem}.lock"

    async def main() -> InstalledEnvironment:
        slots, wanted = Slots(), Packages(("p0", "shared"))
        with locks.try_exclusive(key) as free:
            assert free
            again = asyncio.create_task(
                small.cache.install(wanted, small.pin, BuildLimits(), lambda _: None, turns=slots)
            )
            await asyncio.sleep(1)
            assert not again.done()
            assert not slots.preparations.locked()
        return await asyncio.wait_for(again, 10)

    assert small.loop.run(main()).store_path == installed.store_path


def test_environments_of_two_keys_do_not_meet_in_the_store(small: Small) -> None:
    first = small.install("p0")
    assert small.evict(first)

    async def main() -> None:
        wanted = Packages(("p0", "shared"))
        async with small.cache._environments.adding(first.store_path):
            again = asyncio.create_task(small.cache.install(wanted, small.pin, BuildLimits(), lambda _: None))
            await asyncio.sleep(1.5)
            assert not small.has(first)
        await asyncio.wait_for(again, 100)

    small.loop.run(main())
    assert small.has(first)


def test_finding_and_using_cost_next_to_nothing(small: Small) -> None:
    small.install("p0")
    started = time.monotonic()
    for _ in range(100):
        small.install("p0")
    assert time.monotonic() - started < 5.0  # ten times what is usual
