"""A cache builder's process: `builder NIX_ROOT PIN PACKAGE...` prints its progress, then the store path.

`builder NIX_ROOT PIN --nix EXPRESSION` does so for an expression.
"""

import asyncio
import sys
from pathlib import Path

from nix.cache import BuildLimits, Cache
from nix.dependencies import Expression, Packages
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from processors.sandbox.settings import SandboxSettings


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(nix_root: str, pin: str, *names: str) -> None:
    wanted = Expression(names[1]) if names[0] == "--nix" else Packages(names)
    sandboxes = Sandboxes(SandboxSettings())
    await sandboxes.start()
    try:
        cache = Cache(NixSettings(nix_root=Path(nix_root)), SandboxRunner(sandboxes))
        say((await cache.install(wanted, pin, BuildLimits(), say)).store_path)
    finally:
        await sandboxes.close()


asyncio.run(main(*sys.argv[1:]))
