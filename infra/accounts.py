"""Owners and modes of the files that the system's users share a machine with."""

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path

PRIVATE_UMASK = 0o077
"""Umask of the broker and of roles without privileges. Only their own user can read what they create."""

_CLOSED = ("kafka", "kafka-[0-9]*", "views", "faust", "sealer", "root", "run", "secrets")
"""Glob patterns of subfolders of a data folder that no other account may enter. These contain submissions or
secrets."""


def make_folder(setting: str, folder: Path, mode: int = 0o777) -> None:
    """Make the folder of a setting unless it exists.

    Raises:
        OSError: it cannot be made. The message names the setting.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise OSError(f"ENVICUTOR_{setting}: {folder} cannot be made: {error.strerror}") from None


def open_to_others(data_dir: Path) -> list[Path]:
    """Return the folders with submissions or secrets that other accounts can enter."""
    return sorted(path for name in _CLOSED for path in data_dir.glob(name) if _is_open(path))


def _is_open(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:  # another role has removed it
        return False
    return stat.S_ISDIR(mode) and mode & 0o007 != 0


def close(folder: Path, members: pwd.struct_passwd | None = None) -> None:
    """Close a folder of the current user to all other accounts, whatever the modes of the files in it.

    The group of `members` may pass through the folder to its own files, but cannot list the folder.
    """
    os.chown(folder, -1, members.pw_gid if members else -1)
    folder.chmod(0o710 if members else 0o700)


def close_to_others(data_dir: Path) -> None:
    """Take all rights of other accounts from the folders with submissions or secrets; groups keep theirs."""
    for folder in open_to_others(data_dir):
        with suppress(OSError):  # it belongs to another user, is read-only, or was removed meanwhile
            folder.chmod(folder.stat().st_mode & ~0o007)


def keep_private(data_dir: Path, *, programs_of_others: bool = False) -> None:
    """Have this process, a role, keep what it writes below its data folder from other accounts.

    Folders of an earlier version are closed; what is missing is left to the role if it may not be made. With
    `programs_of_others` the umask stays, because users of sandboxes read some of the files.
    """
    with suppress(OSError):
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        if programs_of_others:
            (data_dir / "views").mkdir(mode=0o700, exist_ok=True)
    close_to_others(data_dir)
    if not programs_of_others:
        os.umask(PRIVATE_UMASK)


def give_to(account: pwd.struct_passwd, folder: Path) -> None:
    """Make a user the owner of a folder and all files below it. Do nothing if it owns the folder already."""
    if folder.stat().st_uid == account.pw_uid:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
