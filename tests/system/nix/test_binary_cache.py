"""Hosts that share a folder and nothing else: what one builds, the others fetch, once, if it is signed."""

import asyncio
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nix import eviction
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Packages
from nix.errors import CacheError, EnvironmentNotFoundError
from nix.runner import Ran
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.support.roles import environment_of
from tests.system.nix.archives import Member, deb, make_package_set

DEBS = {name: deb([Member(f"./usr/{name}", name.encode() * 100_000)]) for name in ("one", "two")}


class Watched(SandboxRunner):
    """Keeps what all processes of the host can see of Nix's commands."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        super().__init__(sandboxes)
        self.seen = ""

    async def bounded(self, argv: Any, **options: Any) -> Ran:
        self.seen += f"{argv} {options['env']}"
        return await super().bounded(argv, **options)


class Hosts:
    """Two hosts, which have a folder in common; only one of them builds."""

    def __init__(self, root: Path, loop: asyncio.Runner, sandboxes: Sandboxes) -> None:
        self.root, self.loop = root, loop
        self.runner = Watched(sandboxes)
        self.shared, self.secret_key_file = root / "shared", root / "secret-key"
        self.public_key = make_key(self.secret_key_file)
        self.builder = self.host("builder", self.public_key, self.secret_key_file)
        self.other = self.host("other", self.public_key)

    def host(self, name: str, public_key: str, secret_key_file: Path | None = None) -> Cache:
        settings = NixSettings(
            nix_root=self.root / name,
            cache_dir=self.root / f"{name}-cache",
            binary_cache_dir=self.shared,
            binary_cache_public_key=public_key,
            binary_cache_secret_key_file=secret_key_file,
        )
        self.pin = make_package_set(settings, DEBS)
        return Cache(settings, self.runner)

    def install(self, name: str, *, again: bool = False) -> InstalledEnvironment:
        work = self.builder.install(Packages((name,)), self.pin, BuildLimits(), lambda _: None, again=again)
        return self.loop.run(work)

    def install_unpublished(self, name: str) -> InstalledEnvironment:
        """Install on the builder's host, as if it were the only one."""
        settings = NixSettings(nix_root=self.root / "builder", cache_dir=self.root / "builder-cache")
        work = Cache(settings, self.runner).install(
            Packages((name,)), self.pin, BuildLimits(), lambda _: None
        )
        return self.loop.run(work)

    def publish(self) -> subprocess.CompletedProcess[str]:
        """Run `envicutor dependencies publish` on the builder's host."""
        settings = {
            "NIX_ROOT": self.root / "builder",
            "CACHE_DIR": self.root / "builder-cache",
            "BINARY_CACHE_DIR": self.shared,
            "BINARY_CACHE_PUBLIC_KEY": self.public_key,
            "BINARY_CACHE_SECRET_KEY_FILE": self.secret_key_file,
        }
        environment = environment_of(**settings)
        argv = [sys.executable, "-m", "infra.cli", "dependencies", "publish"]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=200, check=False)

    def fetch(self, cache: Cache, installed: InstalledEnvironment, times: int = 1) -> None:
        async def all_at_once() -> None:
            fetches = (cache.fetch(installed.store_path, installed.size_bytes, agree) for _ in range(times))
            await asyncio.gather(*fetches)

        self.loop.run(all_at_once())


async def agree(_: str) -> bool:
    return True


def make_key(file: Path) -> str:
    """Write a secret key; return the public one."""
    command = ["nix-store", "--generate-binary-cache-key", "test", str(file), "/dev/stdout"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def hosts(loop: asyncio.Runner, sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    monkeypatch.setattr(eviction, "JUST_USED_S", 0.0)
    root = Path(tempfile.mkdtemp(prefix="envicutor-hosts-"))
    root.chmod(0o755)
    try:
        yield Hosts(root, loop, sandboxes)
    finally:
        shutil.rmtree(root)


def test_one_builds_and_the_other_fetches_once(hosts: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    installed = hosts.install("one")
    with pytest.raises(EnvironmentNotFoundError), hosts.other.hold(installed.store_path):
        pass
    hosts.fetch(hosts.other, installed, times=50)
    assert caplog.text.count("fetched ") == 1
    with hosts.other.hold(installed.store_path) as tree:
        assert (tree / "usr/one").read_text() == "one" * 100_000

    assert hosts.loop.run(hosts.other.evict(installed.store_path, agree))
    hosts.loop.run(hosts.other._store.collect_garbage())
    hosts.fetch(hosts.other, installed)
    assert caplog.text.count("fetched ") == 2

    secret = hosts.secret_key_file.read_text().strip().partition(":")[2]
    assert str(hosts.secret_key_file) in hosts.runner.seen
    assert secret not in hosts.runner.seen + caplog.text
    assert not list(hosts.shared.glob(".draft-*"))


def test_a_fetch_does_not_meet_a_build_in_the_store(hosts: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    installed = hosts.install("one")

    async def main() -> None:
        async with hosts.other._environments.adding(installed.store_path):
            wanted = hosts.other.fetch(installed.store_path, installed.size_bytes, agree)
            fetching = asyncio.create_task(wanted)
            await asyncio.sleep(1)
            assert not hosts.other.has(installed.store_path)
        await asyncio.wait_for(fetching, 20)

    hosts.loop.run(main())
    assert hosts.other.has(installed.store_path)
    assert caplog.text.count("fetched ") == 1


def test_what_is_not_signed_or_not_whole_is_refused_until_it_is_published_again(hosts: Hosts) -> None:
    installed = hosts.install("one")
    stranger = hosts.host("stranger", make_key(hosts.root / "another-key"))
    with pytest.raises(EnvironmentNotFoundError, match="not signed by any of the keys"):
        hosts.fetch(stranger, installed)
    (archive,) = hosts.shared.glob("nar/*")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(EnvironmentNotFoundError, match="could not be fetched: error: "):
        hosts.fetch(hosts.other, installed)
    archive.unlink()
    with pytest.raises(EnvironmentNotFoundError, match="does not exist in binary cache"):
        hosts.fetch(hosts.other, installed)
    for cache in stranger, hosts.other:
        assert not cache._environments.installed(installed.store_path)

    hosts.install("one")
    assert not archive.exists(), "what is thought to be there is not written again"
    hosts.install("one", again=True)
    hosts.fetch(hosts.other, installed)


def test_what_is_not_there_is_missing_and_a_folder_that_is_not_there_is_our_fault(hosts: Hosts) -> None:
    with pytest.raises(CacheError, match="is its file system mounted") as told:
        hosts.fetch(
            hosts.other, InstalledEnvironment("/nix/store/" + "0" * 32 + "-environment", {}, [], 1, "")
        )
    assert not isinstance(told.value, EnvironmentNotFoundError)
    installed = hosts.install("one")
    for narinfo in hosts.shared.glob("*.narinfo"):
        narinfo.unlink()
    with pytest.raises(EnvironmentNotFoundError, match="don't know how to build"):
        hosts.fetch(hosts.other, installed)


def test_a_host_that_joins_with_an_empty_binary_cache_misses_what_is_not_there_and_is_not_at_fault(
    hosts: Hosts,
) -> None:
    installed = hosts.install_unpublished("one")
    assert not hosts.shared.exists()
    hosts.loop.run(hosts.builder.check_builder())
    try:
        hosts.fetch(hosts.other, installed)
    except CacheError as error:
        raised = error
    assert isinstance(raised, EnvironmentNotFoundError), raised
    assert hosts.install("one").store_path == installed.store_path
    hosts.fetch(hosts.other, installed)


def test_what_was_installed_before_there_was_a_binary_cache_is_published_by_a_command(hosts: Hosts) -> None:
    installed = hosts.install_unpublished("one")
    for said in ("published 1 environments", "published 0 environments"):
        ran = hosts.publish()
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr.splitlines()[-1].endswith(said)
    hosts.fetch(hosts.other, installed)
    with hosts.other.hold(installed.store_path) as tree:
        assert (tree / "usr/one").read_text() == "one" * 100_000


def test_who_cannot_sign_does_not_build(hosts: Hosts) -> None:
    hosts.loop.run(hosts.builder.check_builder())
    with pytest.raises(CacheError, match="set ENVICUTOR_BINARY_CACHE_SECRET_KEY_FILE"):
        hosts.loop.run(hosts.other.check_builder())
    other_key = hosts.root / "another-key"
    make_key(other_key)
    with pytest.raises(CacheError, match="is not the public half"):
        hosts.loop.run(hosts.host("confused", hosts.public_key, other_key).check_builder())
    hosts.secret_key_file.chmod(0o644)
    with pytest.raises(CacheError, match="chmod 600"):
        hosts.loop.run(hosts.builder.check_builder())
