"""Folders of builds: readable for build users, and removed without blocking the event loop."""

import asyncio
import shutil
from pathlib import Path


def make_readable(folder: Path) -> None:
    """Create a folder that build users read, whatever the umask is."""
    folder.mkdir()
    folder.chmod(0o755)


async def fresh(folder: Path) -> Path:
    """Return the folder, empty and readable for build users; what was there is removed."""
    await remove(folder)
    make_readable(folder)
    return folder


async def remove(folder: Path) -> None:
    """Remove a folder, if it is there, in a thread.

    A cancellation takes effect when the folder is removed: no thread is left that would remove what another
    task creates at its path.
    """
    removal = asyncio.ensure_future(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
    cancelled = False
    while not removal.done():
        try:
            await asyncio.wait({removal})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
