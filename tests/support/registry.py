"""Registries of the tests' own, on this machine: an index of wheels and a registry of npm, over TLS."""

import base64
import gzip
import hashlib
import http.server
import io
import json
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from infra.kafka.tls import make_tls
from nix import index
from nix.package_set import PackageSet
from nix.settings import NixSettings


class Registry:
    """What is published may be replaced at any time, as no honest registry would."""

    def __init__(self, address: str, ca_file: Path) -> None:
        self.address, self.ca_file = address, ca_file
        self.asked: list[str] = []
        self._pages: dict[str, bytes] = {}
        self._wheels: dict[str, dict[str, str]] = {}
        self._packages: dict[str, dict[str, dict[str, object]]] = {}

    @property
    def settings(self) -> dict[str, object]:
        """Of `NixSettings`, so that builders use these."""
        return {
            "pypi_index": f"{self.address}/simple",
            "npm_registry": f"{self.address}/npm/",
            "registries_ca_file": self.ca_file,
        }

    def page(self, path: str) -> bytes | None:
        self.asked.append(path)
        return self._pages.get(path)

    def wheel(
        self, name: str, version: str, files: Mapping[str, str], *, needs: str = "", tag: str = "py3-none-any"
    ) -> bytes:
        """Publish a wheel with these files."""
        about = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += f"Requires-Dist: {needs}\n" if needs else ""
        record = {f"{about}/METADATA": metadata, f"{about}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n"}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as wheel:
            for path, text in {**files, **record, f"{about}/RECORD": ""}.items():
                wheel.writestr(zipfile.ZipInfo(path), text)
        self.publish_wheel(f"{name}-{version}-{tag}.whl", buffer.getvalue())
        return buffer.getvalue()

    def publish_wheel(self, file: str, content: bytes, *, attributes: str = "", promised: str = "") -> None:
        """Have these bytes; `promised` is the sha256 that the index gives, if not theirs."""
        project = file.split("-", 1)[0].replace("_", "-").lower()
        links = self._wheels.setdefault(project, {})
        digest = promised or hashlib.sha256(content).hexdigest()
        links[file] = f'<a href="/files/{file}#sha256={digest}" {attributes}>{file}</a>\n'
        self._pages[f"/files/{file}"] = content
        self._pages[f"/simple/{project}/"] = f"<html><body>{''.join(links.values())}</body></html>".encode()

    def package(
        self,
        name: str,
        version: str,
        files: Mapping[str, str],
        *,
        needs: Mapping[str, str] | None = None,
        described: Mapping[str, object] | None = None,
    ) -> None:
        """Publish a package of npm with these files."""
        about = {"name": name, "version": version, "dependencies": needs or {}, **(described or {})}
        buffer = io.BytesIO()
        # Without the time in it: the same package is the same bytes.
        with (
            gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w") as tar,
        ):
            for path, text in {"package.json": json.dumps(about), **files}.items():
                info = tarfile.TarInfo(f"package/{path}")
                info.size, info.mode = len(text.encode()), 0o644
                tar.addfile(info, io.BytesIO(text.encode()))
        self.publish_package(about, buffer.getvalue())

    def publish_package(self, about: Mapping[str, object], content: bytes, *, address: str = "") -> None:
        """Have these bytes, at another address if one is given."""
        name, version = str(about["name"]), str(about["version"])
        path = f"/npm/{name}/-/{version}.tgz"
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        dist = {"tarball": address or self.address + path, "integrity": integrity}
        versions = self._packages.setdefault(name, {})
        versions[version] = {**about, "dist": dist}
        listed = {"name": name, "dist-tags": {"latest": version}, "versions": versions}
        self._pages[path] = content
        self._pages[f"/npm/{name.replace('/', '%2f')}"] = json.dumps(listed).encode()


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    """Serve on a port of its own. `folder` gets the certificates, which every user must be able to read."""
    tls = make_tls(folder, None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.broker_file)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = served.page(self.path)
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "text/html" if "/simple/" in self.path else "application/json")
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def get_request(self) -> tuple[ssl.SSLSocket, object]:
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, *_: object) -> None:
            pass  # whoever is refused by its certificate hangs up

    with Server(("127.0.0.1", 0), Handler) as server:
        served = Registry(f"https://127.0.0.1:{server.server_port}", tls.ca_file)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def with_registry(settings: NixSettings, served: Registry, **changes: object) -> NixSettings:
    """Those settings, with these registries."""
    return settings.model_copy(update={**served.settings, **changes})


def put_python(cache_dir: Path, pin: str = "pin") -> None:
    """Give a host a package set that has nothing but Python and its C library."""
    described = (
        f"Package: {name}\nVersion: {version}\nFilename: x\nSize: 1\nSHA256: {'0' * 64}\n"
        for name, version in (("python3", "3.11.2-1+b1"), ("libc6", "2.36-9"))
    )
    content = index.write([("stable/main", "\n".join(described))], frozenset(), {})
    about = PackageSet("debian", pin, hashlib.sha256(content).hexdigest(), "2026-01-01", "amd64")
    folder = cache_dir / "package-sets" / pin
    folder.mkdir(parents=True)
    (folder / "index").write_bytes(content)
    (folder / "set.json").write_text(json.dumps(asdict(about)))


def publish_greeting(served: Registry) -> None:
    """Publish what most tests need: packages that need others, with a program each."""
    served.wheel("words", "1.0", {"words.py": "HELLO = 'hello'\n"})
    served.wheel(
        "greeting",
        "1.0",
        {
            "greeting/__init__.py": "import words\ndef main():\n    print(words.HELLO, 'from a wheel')\n",
            "greeting-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
            "evil.pth": "import os; os.environ['PTH'] = 'executed'\n",
        },
        needs="words>=1.0",
    )
    served.package("words", "1.0.0", {"index.js": "module.exports = 'hello'\n"})
    served.package(
        "@tests/greeting",
        "1.0.0",
        {
            "index.js": "module.exports = require('words') + ' from npm'\n",
            "cli.js": "#!/usr/bin/env node\nconsole.log(require('./index.js'))\n",
        },
        needs={"words": "^1.0.0"},
        described={
            "bin": {"greet-npm": "cli.js"},
            "scripts": dict.fromkeys(
                ("preinstall", "install", "postinstall"), "touch /tmp/envicutor-escaped"
            ),
        },
    )
