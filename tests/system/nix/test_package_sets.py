"""A package set of another release than the host's has an apt of its own."""

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nix import archives, package_set
from nix.cache import BuildLimits, Cache
from nix.dependencies import Packages
from nix.errors import CacheError
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.archives import Member, deb
from tests.system.nix.conftest import Host
from tests.system.nix.repository import Repository, repository

BASE = tomllib.loads((package_set.SOURCES / "debian.toml").read_text())["base"]


@pytest.fixture
def root() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="envicutor-sets-"))
    root.chmod(0o755)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def repositories(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Repository]]:
    """The host's repository, and that of another release, which the host's apt does not know."""
    with ExitStack() as stack:
        both = [stack.enter_context(repository(root / name)) for name in ("host", "other")]
        for name, value in both[0].environment.items():
            monkeypatch.setenv(name, value)
        for served, text in zip(both, (b"host", b"other"), strict=True):
            named = deb([Member("./usr/release", text)])
            served.publish([("p0", named), *((name, deb([Member(f"./usr/{name}")])) for name in BASE)])
        yield both


def test_environments_have_the_archives_of_their_package_set_s_release(
    root: Path, repositories: list[Repository], host: Host, sandboxes: Sandboxes
) -> None:
    settings = NixSettings(
        nix_root=root / "nix",
        cache_dir=root / "cache",
        binary_cache_dir=None,
        package_set_sources={"other": repositories[1].sources},
    )
    cache = Cache(settings, SandboxRunner(sandboxes))

    def release(pin: str) -> str:
        work = cache.install(Packages(("p0",)), pin, BuildLimits(), print)
        return (settings.nix_root / host.loop.run(work).store_path[1:] / "usr/release").read_text()

    ours, theirs = (package_set.refresh(settings, print, name).pin for name in (None, "other"))
    assert [release(ours), release(theirs)] == ["host", "other"]

    # A builder on another host has neither the lists nor the environments.
    elsewhere = settings.model_copy(update={"nix_root": root / "nix2"})
    for folder in (settings.cache_dir / "apt", settings.cache_dir / "trees", archives.pool(settings)):
        shutil.rmtree(folder)
    cache = Cache(elsewhere, SandboxRunner(sandboxes))
    installed = host.loop.run(cache.install(Packages(("p0",)), theirs, BuildLimits(), print))
    assert (elsewhere.nix_root / installed.store_path[1:] / "usr/release").read_text() == "other"

    repositories[1].sources.unlink()
    for folder in (settings.cache_dir / "apt", settings.cache_dir / "trees", archives.pool(settings)):
        shutil.rmtree(folder)
    with pytest.raises(CacheError, match=r"ENVICUTOR_PACKAGE_SET_SOURCES: .* is no file"):
        host.loop.run(
            Cache(settings.model_copy(update={"nix_root": root / "nix3"}), SandboxRunner(sandboxes)).install(
                Packages(("p0",)), theirs, BuildLimits(), print
            )
        )
