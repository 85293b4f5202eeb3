"""Pinned packages of PyPI and npm: resolved once, fetched by hash, unpacked and never executed."""

import hashlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from glob import glob
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from nix import archives
from nix.artifacts import ResolvedArtifact, host_of
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.deadline import Deadline
from nix.dependencies import Packages, Pinned
from nix.errors import CacheError, DependenciesError, LimitError, TransientError
from nix.registries import pypi
from nix.registries.relay import Relay
from nix.registries.sandbox import Registries, sockets
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.support.polling import eventually
from tests.support.registry import Registry, publish_greeting, registry, with_registry
from tests.system.nix.conftest import Host, run_in

GREETING = Pinned(("greeting==1.0",), ("@tests/greeting@1.0.0",))


@pytest.fixture
def served() -> Iterator[Registry]:
    """Not below pytest's own folder, which is closed to the users of the sandbox."""
    with tempfile.TemporaryDirectory(prefix="envicutor-registry-") as folder:
        Path(folder).chmod(0o755)
        with registry(Path(folder)) as served:
            publish_greeting(served)
            yield served


class Install(Protocol):
    def __call__(
        self,
        pinned: Pinned = GREETING,
        resolution: tuple[ResolvedArtifact, ...] = (),
        **changes: object,
    ) -> InstalledEnvironment: ...


@pytest.fixture
def install(host: Host, sandboxes: Sandboxes, served: Registry) -> Install:
    """With the registries of the test and, since these lie, a pool of archives that is nobody else's."""

    def install(
        pinned: Pinned = GREETING, resolution: tuple[ResolvedArtifact, ...] = (), **changes: object
    ) -> InstalledEnvironment:
        settings = with_registry(host.settings, served, **changes)
        cache = Cache(settings, SandboxRunner(sandboxes))
        wanted = Packages((), pinned)
        work = cache.install(wanted, host.pin, BuildLimits(), print, resolution=resolution)
        return host.loop.run(work)

    return install


def test_what_is_pinned_is_installed_with_all_that_it_needs(install: Install, host: Host) -> None:
    installed = install()
    assert installed.packages[-4:] == ["@tests/greeting@1.0.0", "greeting==1.0", "words==1.0", "words@1.0.0"]
    assert [(one.registry, one.name, one.hash[:7], one.place) for one in installed.resolution] == [
        ("pypi", "greeting", "sha256:", ""),
        ("pypi", "words", "sha256:", ""),
        ("npm", "@tests/greeting", "sha512:", "node_modules/@tests/greeting"),
        ("npm", "words", "sha512:", "node_modules/words"),
    ]
    with host.cache.hold(installed.store_path) as tree:
        assert run_in(tree, "python3", "-c", "import greeting; greeting.main()") == "hello from a wheel\n"
        assert run_in(tree, "/usr/local/bin/greet") == "hello from a wheel\n"
        assert run_in(tree, "/usr/local/bin/greet-npm") == "hello from npm\n"
        site = tree / "usr/local/lib/python3.11/dist-packages"
        assert (site / "__pycache__/words.cpython-311.pyc").is_file()
    assert not Path("/tmp/envicutor-escaped").exists()
    served = set((host.settings.nix_root / "sockets").iterdir())  # by builds of other tests, if any
    folder = host.settings.nix_root / "sockets"
    eventually(lambda: not served & set(folder.iterdir()), "sockets are removed", BuildLimits().wall_time_s)


@pytest.mark.parametrize("pin", ["greeting==1.0", "absent==1.0"])
def test_packages_for_another_python_than_the_host_s_are_refused_with_both_versions(
    host: Host, sandboxes: Sandboxes, served: Registry, pin: str
) -> None:
    """As those of a package set of another release than the host's; before pip's own errors."""
    registries = Registries(with_registry(host.settings, served), SandboxRunner(sandboxes))
    with pytest.raises(
        TransientError, match=r"Python 3\.99: the cache builder has Python 3\.\d+, .* `package_set`"
    ):
        host.loop.run(pypi.resolve([pin], "3.99", registries, Deadline(BuildLimits())))


def test_the_same_resolution_is_the_same_environment_whatever_the_registry_has_by_then(
    install: Install, served: Registry, host: Host
) -> None:
    first = install()
    served.wheel("words", "2.0", {"words.py": "HELLO = 'newer'\n"})
    served.wheel("words", "1.0", {"words.py": "HELLO = 'other'\n"})
    served.package("words", "1.9.0", {"index.js": "module.exports = 'newer'\n"})
    served.asked.clear()
    again = install(resolution=first.resolution)
    assert (again.store_path, again.resolution, served.asked) == (first.store_path, first.resolution, [])
    # What is asked for anew is resolved anew, and an archive that was damaged in the pool is fetched anew.
    damaged = archives.pool(host.settings) / first.resolution[0].file
    intact = damaged.read_bytes()
    damaged.write_bytes(intact[:-1] + b"x")
    assert install().packages[-2:] == ["words==2.0", "words@1.9.0"]
    assert damaged.read_bytes() == intact


def test_an_archive_that_is_not_what_was_promised_is_refused(install: Install, served: Registry) -> None:
    before = hashlib.sha256(served.wheel("changing", "1.0", {"changing.py": ""})).hexdigest()
    file = "changing-1.0-py3-none-any.whl"
    resolved = ResolvedArtifact(
        "pypi", "changing", "1.0", f"{served.address}/files/{file}", f"sha256:{before}"
    )
    after = served.wheel("changing", "1.0", {"changing.py": "malice = True"})
    with pytest.raises(DependenciesError, match=r"changing==1\.0: what https.* is not what was promised"):
        install(Pinned(("changing==1.0",)), (resolved,))
    served.publish_wheel(file, after, promised=before)
    with pytest.raises(DependenciesError, match=r"(?s)DO NOT MATCH THE HASHES.*changing==1\.0"):
        install(Pinned(("changing==1.0",)))
    elsewhere = replace(resolved, url="https://127.0.0.1:9/changing.whl")
    with pytest.raises(DependenciesError, match="is not on the registry that is configured"):
        install(Pinned(("changing==1.0",)), (elsewhere,))


@pytest.mark.parametrize(
    ("pinned", "told"),
    [
        (Pinned(("nowhere==1.0",)), "nowhere: the index has no package of this name"),
        (Pinned(("greeting==3.0",)), r"greeting has no version 3\.0; the last are 1\.0"),
        (Pinned(("source==1.0",)), r"source==1\.0 has no wheel for Python 3\.11 .* source-1\.0\.tar\.gz"),
        (Pinned(("other==1.0",)), r"other==1\.0 has no wheel for Python 3\.11"),
        (Pinned(("bad==1.0",)), r"bad==1\.0 was withdrawn \(yanked\) .*: it is broken"),
        (Pinned(npm=("nowhere@1.0.0",)), "nowhere"),
        (Pinned(npm=("words@3.0.0",)), r"No matching version found for words@3\.0\.0"),
        (Pinned(npm=("stray@1.0.0",)), "stray.*is not on the registry that is configured"),
        (Pinned(npm=("git@1.0.0",)), "is not on the registry that is configured"),
    ],
)
def test_what_is_wrong_is_explained(install: Install, served: Registry, pinned: Pinned, told: str) -> None:
    served.publish_wheel("source-1.0.tar.gz", b"")
    served.publish_wheel("other-1.0-cp311-cp311-win_amd64.whl", b"")
    bad = served.wheel("bad", "1.0", {})
    served.publish_wheel("bad-1.0-py3-none-any.whl", bad, attributes='data-yanked="it is broken"')
    served.publish_package({"name": "stray", "version": "1.0.0"}, b"", address="https://127.0.0.1:9/x.tgz")
    served.package("git", "1.0.0", {}, needs={"elsewhere": "https://127.0.0.1:9/elsewhere.tgz"})
    with pytest.raises(DependenciesError, match=told):
        install(pinned)


@pytest.mark.parametrize(
    "address",
    [
        "{registry}/files/evil-1.0.tar.gz",
        "{registry}/files/words-1.0-py3-none-any.whl",
        "git+{registry}/files/evil.whl",
        "git+file:///tmp/evil.whl",
        "http://127.0.0.1:9/SSLError",
        "file:///etc",
    ],
)
def test_what_a_wheel_needs_by_address_is_not_even_asked_for(
    install: Install, served: Registry, address: str
) -> None:
    served.publish_wheel("evil-1.0.tar.gz", b"")
    served.wheel("trap", "1.0", {}, needs=f"evil @ {address.format(registry=served.address)}")
    with pytest.raises(DependenciesError, match=r"evil \(which trap needs\) is named by the address"):
        install(Pinned(("trap==1.0",)))
    assert served.asked == ["/simple/trap/", "/files/trap-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("git+file:///tmp/evil", "git"),
        ("somebody/evil", "git"),
        ("{registry}/npm/evil/-/1.0.0.tgz", "remote"),
        ("http://127.0.0.1:9/evil.tgz", "remote"),
        ("file:/etc/evil.tgz", "file"),
        ("file:/etc", "directory"),
    ],
)
def test_what_a_package_of_npm_needs_by_address_is_not_even_asked_for(
    install: Install, served: Registry, address: str, kind: str
) -> None:
    served.package("trap", "1.0.0", {}, needs={"evil": address.format(registry=served.address)})
    with pytest.raises(DependenciesError, match=f"not on the registry .* here {kind}"):
        install(Pinned(npm=("trap@1.0.0",)))
    assert served.asked == ["/npm/trap"]


def test_without_registries_there_are_no_such_packages(install: Install) -> None:
    with pytest.raises(TransientError, match=r"pypi are switched off here.* ENVICUTOR_PYPI_INDEX"):
        install(Pinned(("greeting==1.0",)), pypi_index="")
    with pytest.raises(TransientError, match=r"npm are switched off here.* ENVICUTOR_NPM_REGISTRY"):
        install(Pinned(npm=("words@1.0.0",)), npm_registry="")


def test_a_registry_that_is_away_is_our_fault(install: Install) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        away = f"https://127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(CacheError, match="cannot be reached: 127"):
        install(Pinned(("greeting==1.0",)), pypi_index=away)
    with pytest.raises(CacheError, match="cannot be reached: 127"):
        install(Pinned(npm=("words@1.0.0",)), npm_registry=away)


def test_an_authority_that_nobody_named_is_not_believed(install: Install) -> None:
    others = Path("/etc/ssl/certs/ca-certificates.crt")
    with pytest.raises(CacheError, match=r"(?i)certificate"):
        install(Pinned(npm=("words@1.0.0",)), registries_ca_file=others)


def test_from_within_there_is_nothing_but_the_registries(
    host: Host, sandboxes: Sandboxes, served: Registry
) -> None:
    script = """
import socket, sys
def ask(family, address, head):
    with socket.socket(family) as tried:
        tried.settimeout(3)
        try:
            tried.connect(address)
            tried.sendall(head + b"\\r\\n\\r\\n")
            return tried.recv(100).split(b"\\r\\n")[0].decode()
        except OSError as error:
            return type(error).__name__
relay, (known, other) = "/relay/relay.sock", sys.argv[1:]
for head in (f"CONNECT {known} HTTP/1.1", f"CONNECT {other} HTTP/1.1", f"GET http://{other}/ HTTP/1.1"):
    print(ask(socket.AF_UNIX, relay, head.encode()))
for address in (known, other):
    print(ask(socket.AF_INET, ("127.0.0.1", int(address.split(":")[1])), b"GET / HTTP/1.0"))
"""

    async def look(other: str) -> list[str]:
        known = served.address.removeprefix("https://")
        relay = Relay({host_of(served.address)})
        async with sockets(host.settings, relay) as served_here:
            ran = await SandboxRunner(sandboxes).sandboxed(
                ("python3", "-c", script, known, other),
                mounts={"/relay": served_here.folder},
                files={},
                on_user=served_here.allow,
                wall_time_s=20,
                memory_bytes=1 << 28,
            )
        assert len(relay.refused) == 2
        return ran.stdout.decode().splitlines()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        told = host.loop.run(look(f"127.0.0.1:{listener.getsockname()[1]}"))
        with pytest.raises(TimeoutError):
            listener.accept()
    assert told == [
        "HTTP/1.1 200 Connection established",
        *["HTTP/1.1 403 Forbidden"] * 2,
        *["ConnectionRefusedError"] * 2,
    ]


BUILDS = 10


class Others(threading.Thread):
    """Other accounts of the host: each socket is tried as root and, in a process of its own, as uid 65534."""

    def __init__(self, nix_root: Path) -> None:
        super().__init__()
        self._patterns = (f"{tempfile.gettempdir()}/envicutor-relay-*/*.sock", f"{nix_root}/sockets/*/*.sock")
        self.done = threading.Event()
        self.answers: dict[str, list[str]] = {}
        """By the name of a socket, such as deposit.sock."""

    def run(self) -> None:
        tried: set[str] = set()
        while not self.done.is_set():
            # glob, unlike Path.glob, goes on if a folder is removed meanwhile
            found = {path for pattern in self._patterns for path in glob(pattern)}  # noqa: PTH207
            for path in found - tried:
                ran = subprocess.run(
                    [sys.executable, "-c", KNOCK, path], capture_output=True, text=True, check=False
                )
                if ran.returncode == 0:  # else the socket was gone before this process had started
                    self.answers.setdefault(Path(path).name, []).extend(ran.stdout.splitlines())
            tried |= found
            time.sleep(0.005)


KNOCK = """
import os, socket, sys
folder, name = os.path.split(sys.argv[1])
os.chdir(folder)
said = b"layer\\nevil" if name == "deposit.sock" else b"CONNECT evil:443 HTTP/1.1\\r\\n\\r\\n"
for user in (0, 65534):
    os.setuid(user)
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(3)
        try:
            tried.connect(name)
            tried.sendall(said)
            tried.shutdown(socket.SHUT_WR)
            print(user, "answered" if tried.recv(100) else "refused")
        except OSError as error:
            print(user, "refused" if error.errno else "it hangs")
"""


def test_other_accounts_of_the_host_are_refused_and_the_honest_build_goes_on(
    install: Install, host: Host, served: Registry
) -> None:
    others = Others(host.settings.nix_root)
    others.start()
    error: Exception | None = None
    sockets = {"relay.sock", "deposit.sock"}
    try:
        for version in count(1):  # until each kind of socket was tried while it was there
            served.wheel("honest", f"{version}.0", {"honest.py": "SAID = 'honest'\n"})
            installed = install(Pinned((f"honest=={version}.0",)))
            if others.answers.keys() == sockets or version == BUILDS:
                break
    except (DependenciesError, CacheError) as raised:
        error = raised
    finally:
        others.done.set()
        others.join()
    assert others.answers.keys() == sockets
    told = {line for answers in others.answers.values() for line in answers}
    assert told == {"0 refused", "65534 refused"}
    assert error is None
    assert host.run(installed, "python3", "-c", "import honest; print(honest.SAID)") == "honest\n"


def test_hostile_archives_are_refused_in_the_build(install: Install, served: Registry) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("bomb-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: bomb\nVersion: 1.0\n")
        wheel.writestr("bomb-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("bomb.txt", bytes(200 << 20))
    served.publish_wheel("bomb-1.0-py3-none-any.whl", buffer.getvalue())
    with pytest.raises(LimitError, match=r"bomb==1\.0: what is in them hit the limit environment_bytes"):
        install(Pinned(("bomb==1.0",)), environment_bytes=128 << 20)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        about = json.dumps({"name": "evil", "version": "1.0.0"}).encode()
        described = tarfile.TarInfo("package/package.json")
        described.size = len(about)
        tar.addfile(described, io.BytesIO(about))
        link = tarfile.TarInfo("package/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    served.publish_package({"name": "evil", "version": "1.0.0"}, buffer.getvalue())
    with pytest.raises(DependenciesError, match=r"evil@1\.0\.0: its member 'package/link' is neither"):
        install(Pinned(npm=("evil@1.0.0",)))
