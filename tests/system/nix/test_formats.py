"""What an earlier version built is built again, by itself, on the same data folder."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nix import nix_store
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.contents import manifest
from nix.dependencies import Packages
from nix.errors import EnvironmentNotFoundError
from nix.package_set import load
from nix.resolve import closure
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.archives import Member, deb, make_package_set
from tests.system.nix.conftest import Host

DEBS = {"one": deb([Member("./usr/one", b"one")])}


async def build_in_format_1(
    cache: Cache, settings: NixSettings, pin: str, names: tuple[str, ...], folder: Path
) -> InstalledEnvironment:
    """Build packages as the first version did: by another script, for a key without a format."""
    builder = folder / "builder"
    shutil.copytree(nix_store.BUILDER, builder)
    script = (builder / "environment.sh").read_text()
    (builder / "environment.sh").write_text(
        "".join(line for line in script.splitlines(keepends=True) if "/format" not in line) + "# older\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nix_store, "BUILDER", builder)
        installed = await cache.install(Packages(names), pin, BuildLimits(), print)
    package_set = load(settings, pin)
    packages = closure([*package_set.names.base, *names], package_set.index)
    parts = [manifest(packages), "amd64", {}]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    records = (settings.nix_root / "environments").glob("*.json")
    (record,) = (record for record in records if installed.store_path in record.read_text())
    record.rename(record.with_name(f"{key}.json"))
    return installed


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-formats-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_an_environment_of_an_older_format_is_missing_until_it_is_built_again(
    host: Host, sandboxes: Sandboxes, folder: Path
) -> None:
    settings = NixSettings(nix_root=folder / "nix", cache_dir=folder / "cache")
    pin = make_package_set(settings, DEBS)
    cache = Cache(settings, SandboxRunner(sandboxes))
    old = host.loop.run(build_in_format_1(cache, settings, pin, ("one",), folder))
    assert (settings.nix_root / old.store_path[1:] / "usr/one").read_text() == "one"

    async def fetch() -> None:
        await cache.fetch(old.store_path, old.size_bytes, agree)

    with pytest.raises(EnvironmentNotFoundError, match="was built in format 1"), cache.hold(old.store_path):
        pass
    with pytest.raises(EnvironmentNotFoundError, match="was built in format 1"):
        host.loop.run(fetch())
    new = host.loop.run(cache.install(Packages(("one",)), pin, BuildLimits(), print))
    assert new.store_path != old.store_path
    with cache.hold(new.store_path) as tree:
        assert (tree / "usr/one").read_text() == "one"
    assert host.loop.run(cache.evict(old.store_path, agree)), "what is of no use any more can be evicted"


async def agree(_: str) -> bool:
    return True
