"""What a poison does to its worker: the sandbox lets no program kill it, so it is done from outside."""

import asyncio
import os
import re
import signal
import time
from contextlib import suppress

from tests.chaos.faults import Fault
from tests.chaos.submissions import POISON_SLEEP
from tests.system.cluster.processes import ancestors, running
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
        for program in running(_POISON):
            owner = next((pid for pid in ancestors(program) if pid in pids), None)
            if owner is not None:
                with suppress(ProcessLookupError):
                    os.kill(owner, signal.SIGKILL)
                    happened.append(Fault(time.time(), "poison", pids[owner]))
