"""Files that only one user may read."""

import os
import pwd
from pathlib import Path


def write_secret(file: Path, content: bytes, owner: pwd.struct_passwd | None = None) -> None:
    """Write a file that only `owner` (or the current user) may read. The file appears whole or not at all."""
    draft = file.with_name(f".{file.name}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as opened:
        opened.write(content)
        if owner is not None:
            os.fchown(opened.fileno(), owner.pw_uid, owner.pw_gid)
    draft.rename(file)
