"""System users, and what belongs to them."""

import os
import pwd
from pathlib import Path

PRIVATE_UMASK = 0o077
"""What broker and roles without privileges create is for their own user alone."""


def close(folder: Path, members: pwd.struct_passwd | None = None) -> None:
    """Close a folder of the present user to all others, whatever the modes of what is in it.

    The group of `members` may pass through it, to what is theirs in it, and see no names.
    """
    os.chown(folder, -1, members.pw_gid if members else -1)
    folder.chmod(0o710 if members else 0o700)


def give_to(account: pwd.struct_passwd, folder: Path) -> None:
    """Give a folder and all that is in it to a user, unless it has the folder already."""
    if folder.stat().st_uid == account.pw_uid:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
