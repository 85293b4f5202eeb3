"""System users, and what belongs to them."""

import os
import pwd
from pathlib import Path


def give_to(account: pwd.struct_passwd, folder: Path) -> None:
    """Give a folder and all that is in it to a user, unless it has the folder already."""
    if folder.stat().st_uid == account.pw_uid:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
