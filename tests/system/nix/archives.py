"""Debian archives and package sets made for a test."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

from nix import archives, index, package_set
from nix.package_set import SOURCES
from nix.settings import NixSettings


@dataclass
class Member:
    """One member of an archive's data."""

    name: str
    content: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o755


def deb(members: Iterable[Member], postinst: str = "") -> bytes:
    """An archive with these members and this maintainer script."""
    script = [Member("./postinst", f"#!/.configure/busybox sh\n{postinst}\n".encode())] if postinst else []
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": _tar(script), "data.tar.gz": _tar(members)}
    return b"!<arch>\n" + b"".join(_ar_member(name, content) for name, content in parts.items())


def make_package_set(settings: NixSettings, debs: dict[str, bytes]) -> str:
    """Put archives into the pool and a package set of just these into place; returns its pin."""
    pool = archives.pool(settings)
    pool.mkdir(parents=True, exist_ok=True)
    paragraphs = []
    for name, content in debs.items():
        sha256 = hashlib.sha256(content).hexdigest()
        (pool / f"{sha256}.deb").write_bytes(content)
        paragraphs.append(
            f"Package: {name}\nVersion: 1\nFilename: {name}.deb\nSHA256: {sha256}\nSize: {len(content)}\n"
        )
    content = index.write([("test/main", "\n".join(paragraphs))], frozenset(), {})
    digest = hashlib.sha256(content).hexdigest()
    pin = f"test-{digest[:16]}"
    folder = settings.cache_dir / "package-sets" / pin
    (folder / "pkgs").mkdir(parents=True)
    (folder / "index").write_bytes(content)
    names = package_set.make_names(
        index.Index(io.BytesIO(content)), {"base": [], "aliases": {}, "versions": {}, "sets": {}}
    )
    (folder / "pkgs/names.json").write_text(json.dumps(names))
    (folder / "pkgs/default.nix").write_text((SOURCES / "pkgs/default.nix").read_text())
    description = {
        "name": "test",
        "pin": pin,
        "index_digest": digest,
        "date": "2000-01-01",
        "architecture": "amd64",
    }
    (folder / "set.json").write_text(json.dumps(description))
    return pin


def _tar(members: Iterable[Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=0) as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.type, info.linkname = len(member.content), member.type, member.link
            info.mode, info.devmajor, info.devminor = member.mode, 1, 3
            tar.addfile(info, io.BytesIO(member.content))
    return buffer.getvalue()


def _ar_member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{0o100644:<8o}{len(content):<10}`\n".encode()
    return header + content + b"\n" * (len(content) % 2)
