"""What a poison does to its worker: the sandbox lets no program kill it, so it is done from outside."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.chaos.faults import Fault
from tests.chaos.submissions import POISON_SLEEP
from tests.system.cluster.running import Cluster

_LOOK_S = 0.25
_POISON = re.compile(rb"sleep\x00" + re.escape(POISON_SLEEP).encode() + rb"\d+\x00")


async def kill_whoever_runs_poison(cluster: Cluster, workers: list[str], happened: list[Fault]) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(_LOOK_S)
        pids = {}
        for name in workers:
            with suppress(FileNotFoundError):
                pids[cluster.pid(name)] = name
        for program in _running_poisons():
            owner = next((pid for pid in _ancestors(program) if pid in pids), None)
            if owner is not None:
                with suppress(ProcessLookupError):
                    os.kill(owner, signal.SIGKILL)
                    happened.append(Fault(time.time(), "poison", pids[owner]))


def _running_poisons() -> list[int]:
    found = []
    for process in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):
            if _POISON.fullmatch((process / "cmdline").read_bytes()):
                found.append(int(process.name))
    return found


def _ancestors(pid: int) -> Iterator[int]:
    """From the parent up."""
    with suppress(OSError):
        while pid > 1:
            # pid (name, in which anything may stand) state ppid …
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            yield pid
