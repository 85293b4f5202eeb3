"""What the distribution has dropped can be built again while the pool has it, and is explained when not."""

import asyncio
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nix import archives, eviction, package_set, search
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Packages
from nix.errors import CacheError, DependenciesError
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.archives import Member, deb
from tests.system.nix.repository import Repository, repository

SIZE = 1 << 20
BASE = tomllib.loads((package_set.SOURCES / "debian.toml").read_text())["base"]


class Distribution:
    """A repository with an empty base and a few packages of 1 MiB, and a host that knows no other."""

    def __init__(self, root: Path, served: Repository, loop: asyncio.Runner, sandboxes: Sandboxes) -> None:
        self.served, self.loop, self.runner = served, loop, SandboxRunner(sandboxes)
        sizes = dict.fromkeys(BASE, 1) | dict.fromkeys(("p0", "p1", "p2"), SIZE)
        served.publish(
            (name, deb([Member(f"./usr/{name}", os.urandom(size))])) for name, size in sizes.items()
        )
        self.settings = NixSettings(
            nix_root=root / "nix",
            cache_dir=root / "cache",
            binary_cache_dir=None,
            archives_limit_bytes=SIZE * 8,
        )
        self.pool = archives.pool(self.settings)
        self.pin = package_set.refresh(self.settings, print).pin

    def install(self, name: str, settings: NixSettings | None = None) -> InstalledEnvironment:
        cache = Cache(settings or self.settings, self.runner)
        return self.loop.run(cache.install(Packages((name,)), self.pin, BuildLimits(), print))

    def forget(self, installed: InstalledEnvironment) -> None:
        """Evict it, and remove what was unpacked for it."""
        cache = Cache(self.settings, self.runner)
        assert self.loop.run(cache.evict(installed.store_path, _agree))
        self.loop.run(cache._store.collect_garbage())
        self.loop.run(cache._trees.remove_unused(float("inf")))

    def archive(self, name: str) -> Path:
        package = package_set.load(self.settings, self.pin).index.package(name)
        assert package
        return self.pool / f"{package.sha256}.deb"


async def _agree(_: str) -> bool:
    return True


@pytest.fixture
def distribution(
    loop: asyncio.Runner, sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Distribution]:
    monkeypatch.setattr(eviction, "JUST_USED_S", 0.0)
    root = Path(tempfile.mkdtemp(prefix="envicutor-dropped-"))
    root.chmod(0o755)
    try:
        with repository(root / "repository") as served:
            for name, value in served.environment.items():
                monkeypatch.setenv(name, value)
            yield Distribution(root, served, loop, sandboxes)
    finally:
        shutil.rmtree(root)


def test_what_the_distribution_dropped_is_built_from_the_pool_or_named(distribution: Distribution) -> None:
    first = distribution.install("p0")
    distribution.forget(first)
    os.truncate(distribution.archive("p0"), 1000)  # a crash cut it short: it is fetched again
    assert distribution.install("p0").store_path == first.store_path
    distribution.forget(first)
    distribution.served.drop("p0")
    assert distribution.install("p0").store_path == first.store_path
    assert not [folder for folder in distribution.pool.iterdir() if folder.is_dir()]

    distribution.forget(first)
    distribution.archive("p0").unlink()
    with pytest.raises(DependenciesError) as told:
        distribution.install("p0")
    assert (
        str(told.value) == "p0 1: no longer in the distribution, whose packages of 2000-01-01 were asked for"
    )


def test_a_damaged_archive_is_fetched_again(distribution: Distribution) -> None:
    distribution.forget(distribution.install("p0"))
    with distribution.archive("p0").open("r+b") as archive:
        archive.seek(SIZE // 2)
        archive.write(b"damaged")
    assert distribution.install("p0")
    assert distribution.archive("p0").stat().st_nlink == 1


def test_the_pool_keeps_what_was_used_last(distribution: Distribution) -> None:
    for name in ("p0", "p1"):
        distribution.install(name)
    distribution.forget(distribution.install("p0"))
    distribution.install("p0")  # which uses it again
    small = distribution.settings.model_copy(update={"archives_limit_bytes": SIZE * 5 // 2})
    distribution.install("p2", small)
    assert distribution.archive("p0").exists()
    assert distribution.archive("p2").exists()
    assert not distribution.archive("p1").exists()


def test_a_build_has_what_it_needs_though_the_pool_must_let_it_go(distribution: Distribution) -> None:
    none = distribution.settings.model_copy(update={"archives_limit_bytes": 0})
    tree = distribution.settings.nix_root / distribution.install("p0", none).store_path[1:]
    assert (tree / "usr/p0").stat().st_size == SIZE
    assert not list(distribution.pool.glob("*.deb"))


def test_the_same_lists_are_read_once(distribution: Distribution) -> None:
    said: list[str] = []
    assert package_set.refresh(distribution.settings, said.append).pin == distribution.pin
    assert said == [f"package set {distribution.pin}"]
    elsewhere = distribution.settings.model_copy(update={"cache_dir": distribution.pool.parent / "elsewhere"})
    assert package_set.refresh(elsewhere, said.append).pin == distribution.pin
    assert "writing the index" in said


def test_another_host_takes_the_package_set_from_the_binary_cache(distribution: Distribution) -> None:
    shared = distribution.pool.parent / "shared"
    key = "test:" + "A" * 43 + "="
    here = distribution.settings.model_copy(
        update={"binary_cache_dir": shared, "binary_cache_public_key": key}
    )
    there = here.model_copy(update={"cache_dir": distribution.pool.parent / "there"})
    assert package_set.refresh(here, print).pin == distribution.pin
    assert package_set.load(there, distribution.pin).set == package_set.load(here, distribution.pin).set

    searching = here.model_copy(update={"cache_dir": distribution.pool.parent / "searching"})
    assert [found.name for found in search.load(searching, distribution.pin).find("p0", 0, 9).packages] == [
        "p0"
    ]

    third = here.model_copy(update={"cache_dir": distribution.pool.parent / "third"})
    names = shared / f"package-sets/{distribution.pin}/pkgs/names.json"
    names.write_text(names.read_text().replace("p0", "p9"))
    with pytest.raises(CacheError, match="do not match its pin"):
        package_set.load(third, distribution.pin)
