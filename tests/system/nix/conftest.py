"""A Cache of the tests' own on the host's pool of archives, with the real sandbox."""

import asyncio
import fcntl
import http.server
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nix import package_set
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Dependencies
from nix.folders import remove_now
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from processors.sandbox.settings import SandboxSettings


@dataclass
class Host:
    """One process's view of a host: a Cache, what runs its commands, and the package set in force."""

    cache: Cache
    settings: NixSettings
    pin: str
    loop: asyncio.Runner

    def install(self, dependencies: Dependencies, limits: BuildLimits | None = None) -> InstalledEnvironment:
        work = self.cache.install(dependencies, self.pin, limits or BuildLimits(), print)
        return self.loop.run(work)

    def run(self, installed: InstalledEnvironment, *argv: str) -> str:
        """Run a command with nothing but the environment; returns what it printed."""
        with self.cache.hold(installed.store_path) as tree:
            return run_in(tree, *argv)


def run_in(tree: Path, *argv: str) -> str:
    mounts = [
        arg for name in ("usr", "etc", "var/lib") for arg in ("--ro-bind", str(tree / name), f"/{name}")
    ]
    links = [
        arg for name in ("bin", "lib", "lib64", "sbin") for arg in ("--symlink", f"usr/{name}", f"/{name}")
    ]
    rest = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--uid", "1000", "--gid", "1000"]
    command = ["bwrap", "--unshare-all", "--die-with-parent", *mounts, *links, *rest, *argv]
    ran = subprocess.run(
        command, env={"PATH": "/usr/bin:/usr/sbin"}, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@contextmanager
def _shared_root(name: str) -> Iterator[Path]:
    """A folder that all processes of a test run share and that the last of them removes.

    Not below pytest's own, which is closed to the users of the sandbox.
    """
    root = Path(tempfile.gettempdir(), name)
    lock = os.open(root.with_suffix(".lock"), os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        root.mkdir(exist_ok=True)
        yield root
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # others are at it
    else:
        remove_now(root)  # what hostile packages left may be deep
        root.with_suffix(".lock").unlink()
    finally:
        os.close(lock)


def _pin(settings: NixSettings) -> str:
    """The package set of apt's present lists, made by the first that asks."""
    with (settings.nix_root / "pin").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        pin = file.read()
        if not pin:
            pin = package_set.refresh(settings, print).pin
            file.write(pin)
            file.flush()
        return pin


@pytest.fixture(scope="session")
def settings(testrun_uid: str) -> Iterator[NixSettings]:
    if os.geteuid() != 0:
        pytest.skip("builds need root")
    with _shared_root(f"envicutor-nix-{testrun_uid}") as root:
        yield NixSettings(nix_root=root)


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture(scope="session")
def sandboxes(loop: asyncio.Runner, settings: NixSettings) -> Iterator[Sandboxes]:
    sandboxes = Sandboxes(SandboxSettings())
    loop.run(sandboxes.start())
    yield sandboxes
    loop.run(sandboxes.close())


@pytest.fixture(scope="session")
def host(loop: asyncio.Runner, settings: NixSettings, sandboxes: Sandboxes) -> Host:
    return Host(Cache(settings, SandboxRunner(sandboxes)), settings, _pin(settings), loop)


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def server(asked: list[str]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
