"""Where each role spends its time under load, as flame graphs (py-spy)."""

import asyncio
import shutil
import sys
from functools import partial
from pathlib import Path

from infra.commands.output import print_note
from tests.benchmarks.cpu import pids
from tests.benchmarks.http_load import answered, closed_loop, connections
from tests.benchmarks.load import PYTHON, BenchCluster, settings, warm_up
from tests.benchmarks.measuring import RESULTS

AT_ONCE = 8
RECORD_S = 15
WARM_UP = 100
SAMPLES_PER_S = 200
NOTHING_SEEN = b"No stack counts found"
"""What py-spy complains of at a process that never held the interpreter when it looked."""


def measure() -> None:
    """Record, and write a picture for each role."""
    RESULTS.mkdir(exist_ok=True)
    for picture in asyncio.run(_measure()):
        print_note(f"wrote {picture}")


async def _measure() -> list[Path]:
    async with BenchCluster() as cluster:
        await warm_up(cluster, WARM_UP)
        roles = {role: pid for role, pid in pids(settings().data_dir / "run").items() if "broker" not in role}
        async with connections(cluster.http_port, AT_ONCE) as opened:
            loops = [partial(answered, connection, PYTHON) for connection in opened]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(closed_loop(loops, RECORD_S + 1))
                recordings = [tasks.create_task(_recorded(role, pid)) for role, pid in roles.items()]
        return [picture for recording in recordings if (picture := recording.result())]


async def _recorded(role: str, pid: int) -> Path | None:
    """The picture; None of a role that was idle."""
    picture = RESULTS / f"flame-{role}.svg"
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    # Only who holds the interpreter: most threads wait in a client, which looks like work from outside.
    options = ["--gil", "--nonblocking", "--rate", str(SAMPLES_PER_S), "--duration", str(RECORD_S)]
    process = await asyncio.create_subprocess_exec(
        py_spy,
        "record",
        *options,
        "--output",
        str(picture),
        "--pid",
        str(pid),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaints = await process.communicate()
    if NOTHING_SEEN in complaints:
        picture.unlink(missing_ok=True)  # it wrote an empty one
        print_note(f"no picture of {role}: it ran no Python in these {RECORD_S} s")
        return None
    if process.returncode != 0:
        raise RuntimeError(f"py-spy failed at {role}: {complaints.decode()[-500:]}")
    return picture
