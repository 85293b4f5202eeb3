"""Folders of builds can be read by build users, and no removal outlives its caller."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nix import folders


@pytest.fixture
def closed() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("closed")
def test_build_users_read_a_fresh_folder_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "left").touch()
    assert asyncio.run(folders.fresh(folder)).stat().st_mode & 0o777 == 0o755
    assert not list(folder.iterdir())


def test_a_cancelled_removal_ends_before_its_caller(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    for n in range(2000):
        (folder / str(n % 20)).mkdir(parents=True, exist_ok=True)
        (folder / str(n % 20) / str(n)).touch()

    async def main() -> None:
        removing = asyncio.create_task(folders.remove(folder))
        await asyncio.sleep(0)
        removing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await removing
        assert not folder.exists()

    asyncio.run(main())
