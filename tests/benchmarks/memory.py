"""Memory and CPU of an idle system, memory of the first package search, and growth of ingest."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from rich.console import Console

from infra.commands.output import print_note
from tests.benchmarks.cpu import cpu_time_s, pids
from tests.benchmarks.http_load import Connection, answered, connections
from tests.benchmarks.load import NO_OP, BenchCluster, settings, slots_env, warm_up
from tests.benchmarks.measuring import print_table, write_results
from topics.request.limits import MiB

AIM_PSS_BYTES = 700 * MiB
AIM_CPU = 0.08
AIM_SEARCH_BYTES = 20 * MiB
AIM_BYTES_EACH = 100
READY_S = 600.0
SETTLE_S = 5.0
CPU_S = 60.0
"""Length of the window in which the CPU time of an idle system is measured."""
AT_ONCE = 16
WARM_UP = 100
STEPS = 5


class IdleSystem(NamedTuple):
    """A system as `envicutor up` started it, without a submission."""

    up_pid: int
    run_dir: Path
    url: str

    def processes(self) -> dict[str, int]:
        """Process ids by name, with `up` itself."""
        return {"up": self.up_pid, **pids(self.run_dir)}


def measure(submissions: int, minutes: float) -> None:
    """Measure, print and write the results."""
    console = Console()
    with idle_system() as system:
        print_note(f"waiting {minutes:g} minutes")
        time.sleep(minutes * 60)
        found: dict[str, Any] = {"idle": idle(system), "first_search_bytes": first_search(system)}
    _print_idle(console, found["idle"])
    console.print(
        f"the first search of packages adds {found['first_search_bytes'] / MiB:.1f} MiB to ingest; "
        f"aim: {AIM_SEARCH_BYTES / MiB:.0f} MiB"
    )
    found["growth"] = asyncio.run(growth(submissions))
    rows = [[f"{count:,}", f"{resident / MiB:.1f} MiB"] for count, resident in found["growth"]]
    print_table(console, "resident memory of ingest", ["submissions", ""], rows)
    console.print(f"{bytes_each(found['growth']):.0f} bytes each; aim: {AIM_BYTES_EACH}")
    console.print(f"wrote {write_results('memory', found)}")


@contextmanager
def idle_system() -> Iterator[IdleSystem]:
    """Run `envicutor up` on a new data folder, and yield when it is ready."""
    with tempfile.TemporaryDirectory(prefix="envicutor-bench-") as folder:
        Path(folder).chmod(0o711)
        data_dir, log = Path(folder) / "data", Path(folder) / "up.log"
        ours = {"DATA_DIR": data_dir, "HTTP_PORT": 0, "KAFKA_PORT": 0, "LOG_LEVEL": "WARNING"}
        environment = os.environ | {f"ENVICUTOR_{name}": str(value) for name, value in ours.items()}
        command = [sys.executable, "-m", "infra.cli", "up"]
        with log.open("wb") as output:
            up = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield IdleSystem(up.pid, data_dir / "run", _wait_ready(up, log))
        finally:
            up.terminate()
            up.wait()


def idle(system: IdleSystem) -> dict[str, dict[str, float]]:
    """Return the proportional set size, and the CPU time per second, of each process."""
    processes = system.processes()
    before = {name: cpu_time_s(pid) for name, pid in processes.items()}
    started = time.monotonic()
    time.sleep(CPU_S)
    elapsed_s = time.monotonic() - started
    return {
        name: {"pss_bytes": pss_bytes(pid), "cpu": (cpu_time_s(pid) - before[name]) / elapsed_s}
        for name, pid in processes.items()
    }


def first_search(system: IdleSystem) -> int:
    """Return what the first search of packages adds to the resident memory of ingest."""
    pid = system.processes()["ingest-0"]
    before = resident_bytes(pid)
    httpx.get(f"{system.url}/packages", params={"q": "numpy"}, timeout=READY_S, trust_env=False)
    return resident_bytes(pid) - before


async def growth(submissions: int) -> list[tuple[int, int]]:
    """Return the resident memory of ingest after some numbers of submissions that run nothing."""
    async with BenchCluster(slots_env(64)) as cluster:
        await warm_up(cluster, WARM_UP)
        pid = pids(settings().data_dir / "run")["ingest-0"]
        found = [(0, resident_bytes(pid))]
        async with connections(cluster.http_port, AT_ONCE) as clients:
            for step in range(1, STEPS + 1):
                count = submissions // STEPS
                await asyncio.gather(*(_answers(client, count // AT_ONCE) for client in clients))
                await asyncio.sleep(SETTLE_S)
                found.append((step * count, resident_bytes(pid)))
                print_note(f"{step * count} submissions: {found[-1][1] / MiB:.1f} MiB")
    return found


def bytes_each(found: list[tuple[int, int]]) -> float:
    """Return the growth for each submission. The first step fills buffers, so it does not count."""
    (first, at_first), (last, at_last) = found[1], found[-1]
    return (at_last - at_first) / (last - first)


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process: shared pages count in equal parts."""
    return _kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def resident_bytes(pid: int) -> int:
    """Return the resident set size of a process."""
    return _kib(Path(f"/proc/{pid}/status"), "VmRSS")


def _kib(file: Path, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", file.read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


async def _answers(client: Connection, count: int) -> None:
    for _ in range(count):
        await answered(client, NO_OP)


def _wait_ready(up: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and up.poll() is None:
        if found := re.search(r"ready: HTTP on (\S+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise RuntimeError(f"the system did not become ready:\n{log.read_text()}")


def _print_idle(console: Console, found: dict[str, dict[str, float]]) -> None:
    total = {key: sum(of[key] for of in found.values()) for key in ("pss_bytes", "cpu")}
    rows = [
        [name, f"{of['pss_bytes'] / MiB:.1f} MiB", f"{of['cpu'] * 100:.1f} %"]
        for name, of in [*sorted(found.items()), ("all", total)]
    ]
    print_table(console, "idle system", ["process", "PSS", "of a core"], rows)
    console.print(f"aims: {AIM_PSS_BYTES / MiB:.0f} MiB, {AIM_CPU * 100:.0f} % of a core")
