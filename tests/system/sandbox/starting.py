"""A worker's sandboxes, started in a process of their own: `starting STATE_DIR FIRST_UID BOXES`.

It prints the user ids of all boxes, or why it does not start, and waits for the end of its standard input.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from processors.sandbox import SandboxError, Sandboxes, SandboxSettings
from tests.system.sandbox.laboratory import LIMITS


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main(state_dir: str, first_uid: str, boxes: str) -> None:
    settings = SandboxSettings(state_dir=Path(state_dir), first_uid=int(first_uid), boxes=int(boxes))
    sandboxes = Sandboxes(settings)
    try:
        await sandboxes.start()
    except (SandboxError, OSError) as error:
        say(f"refused: {error}")
        return
    async with AsyncExitStack() as stack:
        all_boxes = [await stack.enter_async_context(sandboxes.box({}, LIMITS)) for _ in range(int(boxes))]
        say(f"started: {' '.join(str(box.uid) for box in all_boxes)}")
        await asyncio.to_thread(sys.stdin.read)
    await sandboxes.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
