"""System user of the roles without privileges, and how roles are started as that user or as root."""

import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from infra.accounts import PRIVATE_UMASK


class ServiceUserError(Exception):
    """The system user of roles without privileges does not exist. The message names the setting."""


def service_account(name: str) -> pwd.struct_passwd | None:
    """Return the system user of the roles without privileges, or None for root.

    Raises:
        ServiceUserError: there is no user of that name.
    """
    if name == "root":
        return None
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ServiceUserError(
            f"ENVICUTOR_SERVICE_USER: there is no system user {name!r}; `make system` adds 'envicutor', and "
            "'root' runs every role as root without capabilities"
        ) from None


def role_umask(user: str | None) -> int:
    """Return the umask of a role; -1 keeps that of `up`.

    Users of sandboxes must be able to read the files of worker and cache builder. Other files of these two
    are in a closed folder.
    """
    return -1 if user == "root" else PRIVATE_UMASK


def guard_command(user: str | None) -> list[str]:
    """Return the command that starts a role: the role gains no privileges, and is killed when `up` ends."""
    setpriv = [shutil.which("setpriv") or "setpriv", "--pdeathsig=KILL"]
    match user:
        case "root":
            return setpriv
        case None:
            return [*setpriv, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        case name:
            return [*setpriv, "--no-new-privs", f"--reuid={name}", f"--regid={name}", "--clear-groups"]


def can_run(account: pwd.struct_passwd, data_dir: Path) -> bool:
    """Return whether a user can read this code and pass through the data folder."""
    paths = [sys.executable, __file__, httpx.__file__]
    tests = [*(argument for path in paths for argument in ("-r", path, "-a")), "-x", str(data_dir)]
    done = subprocess.run(
        ["test", *tests], user=account.pw_uid, group=account.pw_gid, extra_groups=(), check=False
    )
    return done.returncode == 0
