"""`resolve_npm REGISTRY PIN...`: prints, as JSON, the lock file that npm writes for the pins.

exit_code   exit code of npm
messages    end of npm's error output
packages    entries of the lock file by place, with the fields in `KEPT`; only if the exit code is 0
"""

import json
import subprocess
import sys
from pathlib import Path

from nix.registries.inside.tunnel import open_tunnel

MESSAGES_CHARACTERS = 20_000
KEPT = ("name", "version", "resolved", "integrity", "os", "cpu", "libc", "link", "inBundle")
SCRATCH = "/tmp/npm"  # noqa: S108 - a sandbox's own /tmp


def main(registry: str, *pins: str) -> None:
    """Resolve the pins through the proxy, which reaches configured hosts only."""
    wanted = dict(pin.rsplit("@", 1) for pin in pins)
    Path("package.json").write_text(
        json.dumps({"name": "environment", "private": True, "dependencies": wanted})
    )
    proxy = open_tunnel()
    # Name every settings file that npm would read, so that the host's own settings do not apply.
    settings = {
        "userconfig": "/dev/null",
        "globalconfig": "/dev/null/none",
        "registry": registry,
        "proxy": proxy,
        "https-proxy": proxy,
        "noproxy": "",
        "cafile": "/ca.pem",
        "cache": SCRATCH,
        "lockfile-version": "3",
        "fetch-retries": "1",
        "fetch-retry-mintimeout": "1000",
        "fetch-timeout": "20000",
        "replace-registry-host": "never",
        "omit-lockfile-registry-resolved": "false",
        "audit": "false",
        "fund": "false",
        "update-notifier": "false",
        "progress": "false",
        "offline": "false",
        "prefer-offline": "false",
        "before": "null",
        "strict-ssl": "true",
        # Dependencies outside the registry are neither fetched nor run. An npm too old for these settings
        # finds no git, and a proxy that refuses.
        **{f"allow-{kind}": "none" for kind in ("git", "remote", "file", "directory")},
        "git": "/bin/false",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    ran = subprocess.run(
        ["npm", "install", "--package-lock-only", "--ignore-scripts", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, object] = {"exit_code": ran.returncode, "messages": ran.stderr[-MESSAGES_CHARACTERS:]}
    if ran.returncode == 0:
        packages = json.loads(Path("package-lock.json").read_text()).get("packages", {})
        found["packages"] = {
            place: {name: entry[name] for name in KEPT if name in entry} for place, entry in packages.items()
        }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
