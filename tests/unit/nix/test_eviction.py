"""What counts into the limit of a Cache, and when eviction stops."""

import asyncio
import os
from pathlib import Path

import pytest

from nix import eviction
from nix.environments import Environments, InstalledEnvironment
from nix.eviction import Eviction
from nix.nix_store import NixStore
from nix.settings import NixSettings
from nix.trees import Trees
from tests.unit.nix.commands import Answers

SIZE = 1 << 20


def store_path(n: int) -> str:
    return f"/nix/store/{n:032}-environment"


class System:
    """A system's Nix store below a folder, on trees that it may share with others."""

    def __init__(self, root: Path, name: str, limit_bytes: int) -> None:
        self.runner = Answers()
        self.store = NixStore(root / name, self.runner, 1 << 30)
        self.environments = Environments(root / name, self.store.roots)
        self.trees = Trees(NixSettings(cache_dir=root), Answers())
        self.eviction = Eviction(self.store, self.environments, self.trees, limit_bytes)
        self.announced: list[str] = []

    def add_tree(self, name: str) -> None:
        tree = self.trees.store.physical(f"/nix/store/{name}")
        tree.mkdir(parents=True)
        (tree / "mark").touch()
        (tree / "file").write_bytes(bytes(SIZE))
        self.trees.keep(name, f"/nix/store/{name}")

    def install(self, n: int, *trees: str, own_bytes: int = 0, keys: int = 1) -> None:
        """Install an environment, as if it were built of these trees."""
        place = self.store.physical(store_path(n))
        place.mkdir(parents=True, exist_ok=True)
        for name in trees:
            os.link(self.trees.store.physical(f"/nix/store/{name}") / "file", place / name)
        installed = InstalledEnvironment(store_path(n), {}, [], 1, "", trees=trees, own_bytes=own_bytes)
        for key in range(keys):
            asyncio.run(self.environments.add(f"{n}-{key}", installed))

    def make_room(self) -> None:
        asyncio.run(self.eviction.make_room(0, self.announce))

    async def announce(self, evicted: str) -> bool:
        self.announced.append(evicted)
        return True


@pytest.fixture(autouse=True)
def used_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eviction, "JUST_USED_S", 0.0)


def test_files_that_could_not_be_linked_count_once_for_each_environment(tmp_path: Path) -> None:
    system = System(tmp_path, "system", 10 * SIZE)
    system.install(1, own_bytes=3 * SIZE, keys=2)
    system.install(2, own_bytes=2 * SIZE)
    assert system.eviction.used_bytes() == 5 * SIZE
    asyncio.run(system.eviction.evict(store_path(1), system.announce))
    assert system.eviction.used_bytes() == 2 * SIZE


def test_a_damaged_record_does_not_count(tmp_path: Path) -> None:
    system = System(tmp_path, "system", 10 * SIZE)
    system.install(1, own_bytes=SIZE)
    (tmp_path / "system/environments/other.json").write_text("{")
    assert system.eviction.used_bytes() == SIZE


def test_a_system_evicts_nothing_because_of_trees_that_only_others_use(tmp_path: Path) -> None:
    one, other = System(tmp_path, "one", 4 * SIZE), System(tmp_path, "other", 100 * SIZE)
    for n in range(6):
        one.add_tree(f"t{n}")
    other.install(1, *(f"t{n}" for n in range(6)))
    one.install(2, "t0", "t1")
    assert 2 * SIZE <= one.eviction.used_bytes() < 2.5 * SIZE
    one.make_room()
    assert one.announced == []
    assert one.runner.commands == []
    assert len(one.trees.names()) == 6


def test_an_eviction_that_frees_nothing_is_the_last_one(tmp_path: Path) -> None:
    system = System(tmp_path, "system", SIZE)
    links = tmp_path / "system/nix/store/.links"  # nothing that an environment has
    links.mkdir(parents=True)
    (links / "other").write_bytes(bytes(4 * SIZE))
    for n in range(3):
        system.install(n)
        (system.store.physical(store_path(n)) / "own").write_bytes(bytes(4 * SIZE))
    system.make_room()
    assert len(system.announced) == 1


def test_a_file_with_two_names_in_an_environment_and_its_tree_is_its_own(tmp_path: Path) -> None:
    system = System(tmp_path, "system", 10 * SIZE)
    system.add_tree("perl")
    tree, place = system.trees.store.physical("/nix/store/perl"), system.store.physical(store_path(1))
    os.link(tree / "file", tree / "file5")
    system.install(1, "perl")
    os.link(tree / "file5", place / "perl5")
    assert eviction._own_bytes(place) >= SIZE
    system.install(2, "perl")
    assert eviction._own_bytes(place) < SIZE
