"""The users that Nix builds as: `python -m nix.build_users`, as root, once a host; again is harmless."""

import grp
import pwd
import subprocess

GROUP = "nixbld"
COUNT = 8
"""As many builds run at once on a host at most."""


def create() -> None:
    """Create the group and its users where they are missing. Raises CalledProcessError if it may not."""
    try:
        grp.getgrnam(GROUP)
    except KeyError:
        subprocess.run(["groupadd", "--system", GROUP], check=True)
    for number in range(1, COUNT + 1):
        user = f"{GROUP}{number}"
        try:
            pwd.getpwnam(user)
        except KeyError:
            home = ["--no-create-home", "--home-dir", "/var/empty", "--shell", "/usr/sbin/nologin"]
            groups = ["--no-user-group", "--gid", GROUP, "--groups", GROUP]
            subprocess.run(["useradd", "--system", *home, *groups, user], check=True)


if __name__ == "__main__":
    create()
