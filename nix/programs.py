"""A check that sandboxes can execute programs below `nix_root`, which holds the environments."""

import errno
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nix.errors import CacheError
from nix.runner import Runner

log = logging.getLogger(__name__)

PROGRAM = Path("/bin/true")
"""Program that is copied below `nix_root` and executed there, with the host's libraries."""


async def check_programs(nix_root: Path, runner: Runner) -> None:
    """Execute a program from below `nix_root` in a sandbox.

    A full disk only logs a warning: installed environments still run, and builds report the full disk.

    Raises:
        CacheError: nothing can be written below `nix_root`, or the program was not executed, for example
            because the file system is mounted noexec. The message names the remedy.
    """
    try:
        await _check(nix_root, runner)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        log.warning("cannot check that programs below %s can be executed: %s", nix_root, error)


async def _check(nix_root: Path, runner: Runner) -> None:
    with _program_below(nix_root) as folder:
        ran = await runner.sandboxed(
            [f"/trial/{PROGRAM.name}"],
            mounts={"/trial": folder},
            files={},
            wall_time_s=60,
            memory_bytes=256 << 20,
        )
    if ran.exit_code != 0:
        reason = ran.stderr.decode(errors="replace").strip()[:500]
        raise CacheError(
            f"programs of environments cannot be executed: one below ENVICUTOR_NIX_ROOT = {nix_root} ended "
            f"with exit code {ran.exit_code}, signal {ran.signal}: {reason!r}. That folder must be on a file "
            "system that is not mounted noexec; Docker's --tmpfs needs the option exec for that"
        )


@contextmanager
def _program_below(nix_root: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            nix_root.mkdir(parents=True, exist_ok=True)
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="trial-", dir=nix_root)))
            folder.chmod(0o755)  # the sandbox's user executes what is in it
            shutil.copy(PROGRAM, folder)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise CacheError(
                f"environments cannot be kept below ENVICUTOR_NIX_ROOT = {nix_root}: {error}. Make that "
                "folder writable, or set another one"
            ) from error
        yield folder
