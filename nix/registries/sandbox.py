"""Runs the programs of `inside` in the sandbox, with sockets to this process for all that they may reach."""

import asyncio
import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from nix.deadline import Deadline
from nix.errors import CacheError, LimitError
from nix.registries.answers import Answer, read_answer
from nix.registries.artifacts import Registry, hosts
from nix.registries.deposit import Deposit
from nix.registries.relay import Relay
from nix.runner import Ran, Runner
from nix.settings import NixSettings

AnswerT = TypeVar("AnswerT", bound=Answer)

NAMES = {"pypi": "PyPI", "npm": "npm"}
PROGRAMS = Path(__file__).with_name("inside")
WALL_TIME_S = 300.0
"""The longest that one program may take."""
MEMORY_BYTES = 1 << 30
"""Honest resolutions take 0.2 GiB."""
BOX_BYTES = 512 << 20
"""Of wheels whose index does not give their metadata apart, pip downloads the whole."""


@dataclass(frozen=True)
class Registries:
    """What every step with registries needs."""

    settings: NixSettings
    runner: Runner


@asynccontextmanager
async def sockets(relay: Relay | None = None, deposit: Deposit | None = None) -> AsyncIterator[Path]:
    """Serve what is given in a folder for the programs, which is gone afterwards."""
    # A path to a Unix socket may have 107 characters: not below folders of the operator's choice.
    folder = await asyncio.to_thread(_open_folder)
    try:
        async with _listening(relay, folder / "relay.sock"), _listening(deposit, folder / "deposit.sock"):
            yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _open_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"envicutor-relay-{os.getpid()}-"))
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def _listening(service: Relay | Deposit | None, socket: Path) -> AsyncIterator[None]:
    """Serve on a Unix socket, which every user may connect to; connections end with the context."""
    if service is None:
        yield
        return
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await service.serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # the program inside ended, or does not keep to what was agreed
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(accept, socket)
    try:
        await asyncio.to_thread(socket.chmod, 0o666)
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def ask(
    registries: Registries,
    of: Registry,
    arguments: Sequence[str],
    found: type[AnswerT],
    *,
    deadline: Deadline,
    mounts: Mapping[str, Path] = MappingProxyType({}),
) -> tuple[AnswerT, Relay]:
    """Have the packages of an index or registry resolved; what was found, and what went through the relay.

    Raises LimitError, or CacheError where the program fails as no package can make it.
    """
    relay = Relay(hosts(registries.settings, of))
    async with sockets(relay) as folder:
        ran = await run_inside(
            registries,
            f"resolving the packages of {NAMES[of]}",
            f"resolve_{of}",
            arguments,
            deadline=deadline,
            mounts={"/relay": folder, "/ca.pem": registries.settings.registries_ca_file, **mounts},
        )
    if ran.exit_code != 0:
        said = ran.stderr.decode(errors="replace")[-1000:]
        raise CacheError(f"packages of {NAMES[of]} could not be resolved: {said}")
    return read_answer(found, ran.stdout), relay


async def run_inside(
    registries: Registries,
    doing: str,
    program: str,
    arguments: Sequence[str],
    *,
    deadline: Deadline,
    mounts: Mapping[str, Path],
    files: Mapping[str, bytes] | None = None,
) -> Ran:
    """Run one program of `inside` with the host's Python.

    Raises LimitError, which names what was being done.
    """
    settings = registries.settings
    environment = ("PYTHONPATH=/tools", "PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp", "LANG=C.UTF-8")
    argv = ("env", "-i", "PATH=/usr/bin:/bin", *environment, "PIP_CONFIG_FILE=/dev/null")
    given, left_s = deadline.given, deadline.left_s()
    memory_bytes = min(given.memory_bytes, MEMORY_BYTES)
    ran = await registries.runner.sandboxed(
        (*argv, "python3", "-s", "-m", f"nix.registries.inside.{program}", *arguments),
        mounts={
            "/tools/nix/registries/inside": _tool(settings, PROGRAMS, f"inside-{_digest(PROGRAMS)}"),
            **mounts,
        },
        files=files or {},
        wall_time_s=max(min(left_s, WALL_TIME_S), 0.1),
        memory_bytes=memory_bytes,
        box_bytes=BOX_BYTES,
    )
    if ran.limit_exceeded:
        wall_time_s = given.wall_time_s if left_s < WALL_TIME_S else WALL_TIME_S
        values = {"wall_time_s": f"{wall_time_s:g}", "memory_bytes": f"{memory_bytes}"}
        limit = values.get(ran.limit_exceeded, "its maximum")
        raise LimitError(f"{doing} hit the limit {ran.limit_exceeded} = {limit}")
    return ran


def pip(settings: NixSettings) -> Path:
    """Return a folder of pip that every user can reach."""
    found = importlib.util.find_spec("pip")
    if found is None or not found.submodule_search_locations:
        raise CacheError("pip is missing in the Python that runs this: run `make setup` again")
    return _tool(settings, Path(found.submodule_search_locations[0]), f"pip-{version('pip')}")


def _digest(folder: Path) -> str:
    content = b"".join(file.read_bytes() for file in sorted(folder.glob("*.py")))
    return hashlib.sha256(content).hexdigest()[:16]


def _tool(settings: NixSettings, source: Path, name: str) -> Path:
    """Return a copy in the cache folder: where the project is installed may be closed to other users."""
    folder = settings.cache_dir / "tools" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            shutil.copytree(source, draft / name, ignore=shutil.ignore_patterns("__pycache__"))
            _open_to_all(draft)
            (draft / name).rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _open_to_all(folder: Path) -> None:
    for path, _, files in os.walk(folder):
        Path(path).chmod(0o755)
        for file in files:
            Path(path, file).chmod(0o644)
