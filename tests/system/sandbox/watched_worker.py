"""A worker's process that runs a short program, says "ready" when that runs, and then what came of it.

watched_worker STATE_DIR FIRST_UID
"""

import asyncio
import sys
from pathlib import Path

from processors.sandbox import Command, Rootfs, SandboxError, Sandboxes, SandboxSettings
from tests.system.sandbox.laboratory import LIMITS


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(state_dir: str, first_uid: str) -> None:
    settings = SandboxSettings(state_dir=Path(state_dir), first_uid=int(first_uid), boxes=32)
    sandboxes = Sandboxes(settings)
    await sandboxes.start()
    try:
        limits = LIMITS.replace(wall_time_s=2)
        async with sandboxes.box({}, limits) as box:
            command = Command(["bash", "-c", "echo; sleep 1"], on_output=lambda *_: say("ready"))
            done = await box.run(command, Rootfs.of_host_tools(), limits)
        say(f"exit code {done.exit_code}, {done.limit_exceeded}")
    except SandboxError as error:
        say(error)
    finally:
        await sandboxes.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
