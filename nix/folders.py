"""Folders of builds: readable for build users, and removed without blocking the event loop."""

import asyncio
import logging
import subprocess
from pathlib import Path

log = logging.getLogger(__name__)


def make_readable(folder: Path) -> None:
    """Create a folder that build users read, whatever the umask is."""
    folder.mkdir()
    folder.chmod(0o755)


async def fresh(folder: Path) -> Path:
    """Return the folder, empty and readable for build users; what was there is removed."""
    await remove(folder)
    make_readable(folder)
    return folder


def remove_now(folder: Path) -> None:
    """Remove a folder, if it is there, however deep it is: shutil.rmtree calls itself for each level.

    A failure is logged, since what removes folders must go on with others.
    """
    command = ["rm", "-rf", "--one-file-system", "--", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ran.returncode != 0:
        log.warning("%s could not be removed: %s", folder, ran.stderr[-1000:])


async def remove(folder: Path) -> None:
    """Remove a folder as `remove_now` does, in a thread.

    A cancellation takes effect when the folder is removed: no thread is left that would remove what another
    task creates at its path.
    """
    removal = asyncio.ensure_future(asyncio.to_thread(remove_now, folder))
    cancelled = False
    while not removal.done():
        try:
            await asyncio.wait({removal})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
