"""Nix's own commands, without the sandbox: digests end with their callers, and lists have any length."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from nix import nix_store
from nix.errors import CacheError
from nix.nix_store import BUILDER, BUSYBOX
from nix.runner import BuildLimits


def test_a_digest_is_that_of_nix(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("content")
    dumped = subprocess.run(["nix-store", "--dump", tmp_path / "tree"], capture_output=True, check=True)
    digest, size_bytes = asyncio.run(nix_store._nar_digest(tmp_path / "tree", {"PATH": "/usr/bin:/bin"}))
    command = ["nix-hash", "--type", "sha256", str(tmp_path / "tree")]
    hashed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (digest, size_bytes) == (hashed.stdout.strip(), len(dumped.stdout))


def endless(folder: Path) -> Path:
    folder.mkdir()
    with (folder / "file").open("wb") as file:
        file.truncate(1 << 43)
    return folder


@pytest.mark.timeout(60)
def test_a_digest_that_takes_too_long_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nix_store, "COPY_LIMITS", BuildLimits(wall_time_s=0.1))
    with pytest.raises(CacheError, match="took longer"):
        asyncio.run(nix_store._nar_digest(endless(tmp_path / "tree"), {"PATH": "/usr/bin:/bin"}))


@pytest.mark.timeout(60)
def test_a_digest_ends_with_its_caller(tmp_path: Path) -> None:
    async def main() -> None:
        digest = nix_store._nar_digest(endless(tmp_path / "tree"), {"PATH": "/usr/bin:/bin"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(digest, 0.2)

    asyncio.run(main())  # it waits for the thread that reads


def test_as_many_archives_as_one_likes_are_given_to_a_build(tmp_path: Path) -> None:
    text = "".join(f"package{n} {n:064}\n" for n in range(2000))
    assert len(text) > 128 << 10  # the kernel accepts no longer argument
    (tmp_path / "files").mkdir()
    derivations = []
    for name in ("one", "other"):
        archives = tmp_path / name
        archives.write_text(text)
        given = {
            "archives": archives,
            "files": tmp_path / "files",
            "architecture": "amd64",
            "busybox": BUSYBOX,
            "format": "3",
            "layer": "",
        }
        options = [option for name, value in given.items() for option in ("--argstr", name, str(value))]
        command = ["nix-instantiate", "--store", f"local?root={tmp_path}", str(BUILDER / "environment.nix")]
        ran = subprocess.run([*command, *options], capture_output=True, text=True, check=True, timeout=60)
        derivations.append(ran.stdout)
    assert derivations[0] == derivations[1], "the derivation depends on more than the text"
