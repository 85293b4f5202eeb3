"""A distribution of the tests' own: an apt repository on this machine, which may drop what it once had."""

import functools
import hashlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Repository:
    """Served below `folder`; `environment` is what lets apt know it."""

    def __init__(self, folder: Path, port: int, *, beside_the_host_s: bool) -> None:
        """Alone, or beside the repositories that the host's apt has."""
        self._public, self._apt = folder / "public", folder / "apt"
        self.sources = self._apt / "ours.list"
        """A file that lets apt know this repository and no other."""
        for made in (self._public / "pool", self._apt / "lists/partial", self._apt / "none"):
            made.mkdir(parents=True)
        ours = f"deb [trusted=yes] http://127.0.0.1:{port} test main\n"
        others = "/etc/apt/sources.list.d" if beside_the_host_s else self._apt / "none"
        if beside_the_host_s:
            self._link_lists()
            ours += "".join(f.read_text() for f in [Path("/etc/apt/sources.list")] if f.exists())
        (self._apt / "sources.list").write_text(ours)
        self.sources.write_text(ours.splitlines()[0] + "\n")
        (self._apt / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{self._apt}/sources.list"; Dir::Etc::sourceparts "{others}";\n'
            f'Dir::State::lists "{self._apt}/lists"; Dir::Cache "{self._apt}";\n'
            'Acquire::http::Proxy::127.0.0.1 "DIRECT"; Acquire::Retries "0";\n'
        )
        self.environment: Mapping[str, str] = {"APT_CONFIG": f"{self._apt}/apt.conf"}

    def publish(self, debs: Iterable[tuple[str, bytes]]) -> None:
        """Have these packages, version 1 of each."""
        paragraphs = []
        for name, content in debs:
            (self._public / f"pool/{name}.deb").write_bytes(content)
            paragraphs.append(
                f"Package: {name}\nVersion: 1\nArchitecture: all\nInstalled-Size: {len(content) >> 10}\n"
                f"Filename: pool/{name}.deb\nSize: {len(content)}\n"
                f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
            )
        packages = "\n".join(paragraphs).encode()
        folder = self._public / "dists/test/main/binary-amd64"
        folder.mkdir(parents=True)
        (folder / "Packages").write_bytes(packages)
        digest = hashlib.sha256(packages).hexdigest()
        (self._public / "dists/test/Release").write_text(
            "Suite: test\nCodename: test\nDate: Sat, 01 Jan 2000 00:00:00 UTC\nArchitectures: amd64\n"
            f"Components: main\nSHA256:\n {digest} {len(packages)} main/binary-amd64/Packages\n"
        )
        command = ["apt-get", "update", "-o", f"Dir::Etc::sourcelist={self.sources}"]
        others = ["-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0"]
        subprocess.run([*command, *others], env=os.environ | self.environment, check=True, timeout=100)

    def drop(self, name: str) -> None:
        """Have the archive no longer, while lists still tell of it."""
        (self._public / f"pool/{name}.deb").unlink()

    def _link_lists(self) -> None:
        for file in Path("/var/lib/apt/lists").iterdir():
            if file.is_file() and file.name != "lock":
                (self._apt / "lists" / file.name).symlink_to(file)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def repository(folder: Path, *, beside_the_host_s: bool = False) -> Iterator[Repository]:
    """Serve a repository on a port of its own. `folder` must be open to the user `_apt`."""
    (folder / "public").mkdir(parents=True)
    handler = functools.partial(_Quiet, directory=str(folder / "public"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Repository(folder, server.server_port, beside_the_host_s=beside_the_host_s)
        finally:
            server.shutdown()
