"""Trees are made once, without waiting for what waits for a turn, and go when nothing uses them."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import cast

import pytest

from nix import locks
from nix.deadline import Deadline
from nix.installation import Installation
from nix.package_set import OpenPackageSet
from nix.runner import BuildLimits
from nix.settings import NixSettings
from nix.trees import MARK, MOST_AT_ONCE, BuildTrees, Trees
from tests.unit.nix.commands import Answers

SIZE = 1 << 20


class Slots:
    """Turns with one slot for builds."""

    def __init__(self) -> None:
        self.builds = asyncio.Semaphore(1)

    def evaluation(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def preparation(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def build(self) -> AbstractAsyncContextManager[None]:
        return self.builds


class Kept:
    """The trees of a host below a folder, which are made by hand."""

    def __init__(self, root: Path) -> None:
        self.runner = Answers()
        self.trees = Trees(NixSettings(nix_root=root / "nix", cache_dir=root), self.runner)
        (root / "nix/store").mkdir(parents=True)
        self._root, self._builds = root, 0

    def write(self, name: str) -> str:
        """Write the files of a tree; return its store path."""
        tree = self.trees.store.physical(f"/nix/store/{name}")
        (tree / "files").mkdir(parents=True)
        (tree / MARK).touch()
        (tree / "files/program").write_bytes(bytes(SIZE))
        os.link(tree / "files/program", tree / "files/program5")
        return f"/nix/store/{name}"

    def add(self, *names: str) -> None:
        for name in names:
            self.trees.keep(name, self.write(name))

    def use(self, name: str) -> None:
        """Link a file of a tree, as an environment does."""
        (self._root / "environment").mkdir(exist_ok=True)
        os.link(self.file(name), self._root / "environment" / name)

    def file(self, name: str) -> Path:
        return self.trees.store.physical(f"/nix/store/{name}") / "files/program"

    def build(self) -> BuildTrees:
        self._builds += 1
        pins = self._root / f"pins{self._builds}"
        pins.mkdir()
        return BuildTrees(self.trees, pins)

    def remove_unused(self, excess_bytes: float = float("inf")) -> bool:
        return asyncio.run(self.trees.remove_unused(excess_bytes))

    async def written(self, names: list[str]) -> Sequence[str]:
        return [self.write(name) for name in names]

    def left(self, name: str) -> list[str]:
        """Return the files beside the locks that a tree has."""
        return [file.name for file in self.trees.lock(name).parent.glob(f"{name}.*")]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def installation(slots: Slots, wall_time_s: float = 100.0) -> Installation:
    limits = BuildLimits(wall_time_s=wall_time_s)
    return Installation(cast("OpenPackageSet", None), Deadline(limits), lambda _: None, slots)


def wanted(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def test_no_lock_is_held_while_a_build_waits_for_its_turn(kept: Kept) -> None:
    async def main() -> None:
        slots = Slots()
        async with slots.builds:
            making = asyncio.create_task(kept.build().make(wanted("a"), kept.written, installation(slots)))
            await asyncio.sleep(0.3)
            with locks.try_exclusive(kept.trees.lock("a")) as free:
                assert free
            assert not making.done()
        await asyncio.wait_for(making, 10)

    asyncio.run(main())
    assert kept.trees.names() == ["a"]


def test_no_slot_is_held_while_another_process_makes_the_tree_and_the_wait_is_not_charged(
    kept: Kept,
) -> None:
    async def main() -> None:
        slots = Slots()
        waiting = installation(slots, wall_time_s=0.5)
        with locks.try_exclusive(kept.trees.lock("a")):
            making = asyncio.create_task(kept.build().make(wanted("a"), kept.written, waiting))
            await asyncio.sleep(0.3)
            async with asyncio.timeout(10), slots.builds:
                await asyncio.sleep(0.5)
            assert not making.done()
            kept.add("a")
        await asyncio.wait_for(making, 10)
        assert waiting.deadline.left_s() > 0.01

    asyncio.run(main())


def test_trees_that_no_other_process_makes_are_made_first(kept: Kept) -> None:
    names = [f"t{n}" for n in range(3 * MOST_AT_ONCE)]
    made: list[list[str]] = []

    async def main() -> None:
        with ExitStack() as others:
            for name in names[:MOST_AT_ONCE]:
                others.enter_context(locks.try_exclusive(kept.trees.lock(name)))

            async def build(those: list[str]) -> Sequence[str]:
                made.append(those)
                others.close()
                return await kept.written(those)

            work = kept.build().make(wanted(*names), build, installation(Slots()))
            await asyncio.wait_for(work, 10)

    asyncio.run(main())
    assert made == [names[n * MOST_AT_ONCE :][:MOST_AT_ONCE] for n in (1, 0, 2)]


def test_files_with_two_names_in_their_archive_are_no_use_of_it(kept: Kept) -> None:
    kept.add("used", "unused")
    kept.use("used")
    assert kept.remove_unused()
    assert kept.trees.names() == ["used"]


def test_trees_of_other_systems_do_not_count(kept: Kept) -> None:
    kept.add("own", "foreign", "unused")
    for name in ("own", "foreign"):
        kept.use(name)
    assert 3 * SIZE <= kept.trees.size_bytes() < 3.5 * SIZE
    assert 2 * SIZE <= kept.trees.used_bytes({"own"}) < 2.5 * SIZE


def test_a_tree_leaves_nothing_behind_but_its_lock(kept: Kept) -> None:
    asyncio.run(kept.build().make(wanted("a"), kept.written, installation(Slots())))
    assert sorted(kept.left("a")) == ["a.bytes", "a.lock"]
    (kept.trees.store.root.parent / "pins1/a").unlink()
    assert kept.remove_unused()
    assert kept.left("a") == ["a.lock"]


def test_remains_of_killed_processes_are_collected_whenever_room_is_needed(kept: Kept) -> None:
    assert not kept.remove_unused(0)
    assert kept.runner.ran("--gc") == 0
    assert not kept.remove_unused(1)
    assert kept.runner.ran("--gc") == 1


def test_a_draft_of_a_killed_process_is_no_root(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    kept.write("a")
    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        kept.trees.keep("a", "/nix/store/a")
    assert not list(kept.trees.store.roots.iterdir())


def test_a_tree_whose_files_are_gone_is_made_again(kept: Kept) -> None:
    kept.add("a")
    lose(kept, "a")
    asyncio.run(kept.build().make(wanted("a"), kept.written, installation(Slots())))
    assert kept.file("a").exists()
    assert kept.runner.ran("--delete") == 1
    assert not kept.trees.lost("a")


def test_the_root_of_a_tree_whose_files_are_gone_is_removed(kept: Kept) -> None:
    kept.add("a", "used")
    kept.use("used")
    lose(kept, "a")
    assert kept.remove_unused(1)
    assert kept.trees.names() == ["used"]


def test_a_build_knows_the_trees_that_it_has(kept: Kept) -> None:
    kept.add("a")
    build = kept.build()
    assert asyncio.run(build.pin(["a", "b"])) == ["b"]
    asyncio.run(build.make(wanted("b"), kept.written, installation(Slots())))
    assert build.pinned == {"a", "b"}


def lose(kept: Kept, name: str) -> None:
    files = kept.file(name).parent
    for file in files.iterdir():
        file.unlink()
    files.rmdir()
    (files.parent / MARK).unlink()
    files.parent.rmdir()
