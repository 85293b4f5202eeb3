"""A cache builder's process: `builder NIX_ROOT PIN PACKAGE...` prints its progress, then the store path."""

import asyncio
import sys
from pathlib import Path

from nix.cache import BuildLimits, Cache
from nix.dependencies import Packages
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from processors.sandbox.settings import SandboxSettings


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(nix_root: str, pin: str, *names: str) -> None:
    sandboxes = Sandboxes(SandboxSettings())
    await sandboxes.start()
    try:
        cache = Cache(NixSettings(nix_root=Path(nix_root)), SandboxRunner(sandboxes))
        say((await cache.install(Packages(names), pin, BuildLimits(), say)).store_path)
    finally:
        await sandboxes.close()


asyncio.run(main(*sys.argv[1:]))
