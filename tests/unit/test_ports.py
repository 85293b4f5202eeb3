"""Shells of processors wait, and ask for the time, by the ports and the event loop alone.

So they run unchanged in the simulator. What is not under the ports is listed with its reason.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNDER_PORTS = (
    "processors/store",
    "processors/queue",
    "processors/worker",
    "processors/build_executor.py",
    "processors/build_turns.py",
    "processors/cache_builder.py",
)
PRODUCTION_ONLY = {
    "processors/store/rebuild.py": "a command of an operator, beside the processors",
    "processors/store/transactions.py": "an alert, in a thread of its own",
    "processors/store/trimming.py": "deletes what was consumed, in a thread of its own",
    "processors/store/watchdog.py": "ends the process if the event loop hangs",
    "processors/store/on_kafka.py": "makes the clients of a process",
    "processors/cache_builder.py": "makes the clients of a process, and checks the host",
    "processors/worker/compile_cache.py": "files on disk, which threads read and write",
    "processors/worker/compiling.py": "files of the compile cache; the simulator has programs that sleep",
    "processors/worker/execute.py": "compares long outputs in a thread, so that leases are renewed",
    "processors/worker/live_output.py": "a preview, whose producer drops what is late",
    "processors/worker/worker.py": "makes the clients of a process",
}
MODULES = {
    "time",
    "threading",
    "concurrent",
    "multiprocessing",
    "queue",
    "sched",
    "signal",
    "socket",
    "random",
}
CLIENTS = {"Consumer", "Producer", "AdminClient", "EventProducer"}
CALLS = {"to_thread", "run_in_executor"}


def python_files() -> list[str]:
    found = [ROOT / place for place in UNDER_PORTS]
    files = [file for place in found for file in (place.rglob("*.py") if place.is_dir() else [place])]
    return sorted(str(file.relative_to(ROOT)) for file in files)


def violations(source: str) -> list[str]:
    """What a module does beside the ports, by line."""
    return [f"{node.lineno}: {what}" for node, what in _found(ast.parse(source))]


def _found(tree: ast.Module) -> list[tuple[ast.stmt | ast.expr, str]]:
    found: list[tuple[ast.stmt | ast.expr, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [(node, name.name) for name in names if name.name.split(".")[0] in MODULES]
            case ast.ImportFrom(module=module, names=names):
                if module and module.split(".")[0] in MODULES:
                    found.append((node, module))
                elif module and not module.endswith("ports"):
                    found += [(node, f"{module}.{name.name}") for name in names if name.name in CLIENTS]
            case ast.Call(func=ast.Attribute() | ast.Name() as called):
                text = ast.unparse(called)
                if text.split(".")[-1] in CALLS:
                    found.append((node, text))
    return found


@pytest.mark.parametrize("file", python_files())
def test_shells_wait_by_the_ports(file: str) -> None:
    found = violations((ROOT / file).read_text())
    assert (found != []) == (file in PRODUCTION_ONLY), found


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "from time import monotonic",
        "import threading as t",
        "from concurrent.futures import ThreadPoolExecutor",
        "from confluent_kafka import Consumer",
        "from confluent_kafka.admin import AdminClient",
        "async def f():\n    await asyncio.to_thread(print)",
        "def f():\n    loop.run_in_executor(None, print)",
    ],
)
def test_what_is_found(line: str) -> None:
    assert violations(line) != []


@pytest.mark.parametrize(
    "line",
    [
        "from topics.kafka.ports import Consumer",
        "from confluent_kafka import KafkaError, Message",
        "async def f():\n    await self._clock.sleep(1)",
        "async def f():\n    await asyncio.sleep(1)",
        "async def f():\n    async with asyncio.timeout(1): ...",
    ],
)
def test_what_is_not(line: str) -> None:
    assert violations(line) == []
