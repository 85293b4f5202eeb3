"""Execution of the programs of `inside` in the sandbox; sockets to this process are their only network."""

import asyncio
import hashlib
import importlib.util
import logging
import os
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from nix.artifacts import Registry, hosts
from nix.deadline import Deadline
from nix.errors import CacheError, LimitError
from nix.registries.answers import ProgramAnswer, read_answer
from nix.registries.deposit import Deposit
from nix.registries.relay import Relay
from nix.runner import Ran, Runner
from nix.settings import NixSettings

log = logging.getLogger(__name__)

AnswerT = TypeVar("AnswerT", bound=ProgramAnswer)

NAMES = {"pypi": "PyPI", "npm": "npm"}
PROGRAMS = Path(__file__).with_name("inside")
WALL_TIME_S = 300.0
"""Longest time that one program may take."""
MEMORY_BYTES = 1 << 30
"""Most memory of one program; resolutions of real packages take 0.2 GiB."""
CREDENTIALS = struct.Struct("3i")
"""Value of SO_PEERCRED, `struct ucred` of unix(7): process, user and group id."""
BOX_BYTES = 512 << 20
"""Size of /box and of /tmp: pip downloads a whole wheel if its index does not serve metadata separately."""


@dataclass(frozen=True)
class Registries:
    """Settings and runner that each step with registries needs."""

    settings: NixSettings
    runner: Runner


class Sockets:
    """Folder of Unix sockets that only the user of one sandbox may connect to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._user: int | None = None

    def allow(self, user: int) -> None:
        """Accept connections of this user only. Before this call, every connection is refused.

        The runner calls this as `on_user`.
        """
        self._user = user
        for path in self.folder.iterdir():
            os.chown(path, user, user)

    def allows(self, writer: asyncio.StreamWriter) -> bool:
        """Return whether the peer of a connection runs as the allowed user (SO_PEERCRED)."""
        connection = writer.get_extra_info("socket")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        _, user, _ = CREDENTIALS.unpack(credentials)
        return bool(user == self._user)


@asynccontextmanager
async def sockets(
    settings: NixSettings, relay: Relay | None = None, deposit: Deposit | None = None
) -> AsyncIterator[Sockets]:
    """Serve the relay and the deposit, if given, on sockets in a new folder; remove the folder at the end."""
    served = Sockets(await asyncio.to_thread(_open_folder, settings.nix_root / "sockets"))
    try:
        async with (
            _listening(relay, served, "relay.sock"),
            _listening(deposit, served, "deposit.sock"),
        ):
            yield served
    finally:
        await asyncio.to_thread(shutil.rmtree, served.folder, ignore_errors=True)


def _open_folder(parent: Path) -> Path:
    """Create a folder whose name other users cannot list, and remove the folders of killed processes."""
    parent.mkdir(mode=0o711, exist_ok=True)
    parent.chmod(0o711)
    for folder in parent.iterdir():
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < time.time() - 2 * WALL_TIME_S:
                shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    folder.chmod(0o711)
    return folder


@asynccontextmanager
async def _listening(service: Relay | Deposit | None, served: Sockets, name: str) -> AsyncIterator[None]:
    """Serve on a Unix socket; close its connections at the end of the context."""
    if service is None:
        yield
        return
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if served.allows(writer):
                await service.serve(reader, writer)
            else:
                log.warning("refused a connection of another user to %s", served.folder / name)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # the program ended, or violates the protocol
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(accept, sock=await asyncio.to_thread(_bind, served.folder, name))
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _bind(folder: Path, name: str) -> socket.socket:
    """Bind a socket by its folder's descriptor, since a Unix socket's path has at most 107 bytes."""
    bound = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bound.bind(f"/proc/self/fd/{descriptor}/{name}")
        (folder / name).chmod(0o600)
    except OSError:
        bound.close()
        raise
    finally:
        os.close(descriptor)
    return bound


async def ask(
    registries: Registries,
    of: Registry,
    arguments: Sequence[str],
    found: type[AnswerT],
    *,
    deadline: Deadline,
    mounts: Mapping[str, Path] = MappingProxyType({}),
) -> tuple[AnswerT, Relay]:
    """Resolve packages of a registry in the sandbox; return the program's output and the used relay.

    Raises:
        DependenciesError: the output is not valid.
        LimitError: the program hit a limit.
        CacheError: the program failed in a way that no package causes.
    """
    relay = Relay(hosts(registries.settings, of))
    async with sockets(registries.settings, relay) as served:
        ran = await run_inside(
            registries,
            f"resolving the packages of {NAMES[of]}",
            f"resolve_{of}",
            arguments,
            deadline=deadline,
            served=served,
            mounts={"/ca.pem": registries.settings.registries_ca_file, **mounts},
        )
    if ran.exit_code != 0:
        messages = ran.stderr.decode(errors="replace")[-1000:]
        raise CacheError(f"packages of {NAMES[of]} could not be resolved: {messages}")
    return read_answer(found, ran.stdout), relay


async def run_inside(
    registries: Registries,
    doing: str,
    program: str,
    arguments: Sequence[str],
    *,
    deadline: Deadline,
    served: Sockets,
    mounts: Mapping[str, Path],
    files: Mapping[str, bytes] | None = None,
) -> Ran:
    """Run one program of `inside` with the host's Python and with the sockets that are served to it.

    `doing` describes the step in the message of an error.

    Raises:
        LimitError: the program hit a limit.
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
            "/relay": served.folder,
            **mounts,
        },
        files=files or {},
        on_user=served.allow,
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
    """Return a folder with pip that every user can read.

    Raises:
        CacheError: the Python of this process has no pip.
    """
    found = importlib.util.find_spec("pip")
    if found is None or not found.submodule_search_locations:
        raise CacheError("pip is missing in the Python that runs this: run `make setup` again")
    return _tool(settings, Path(found.submodule_search_locations[0]), f"pip-{version('pip')}")


def _digest(folder: Path) -> str:
    content = b"".join(file.read_bytes() for file in sorted(folder.glob("*.py")))
    return hashlib.sha256(content).hexdigest()[:16]


def _tool(settings: NixSettings, source: Path, name: str) -> Path:
    """Return a copy in the cache folder, since other users may not be able to read the installed project."""
    folder = settings.cache_dir / "tools" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            shutil.copytree(source, draft / name, ignore=shutil.ignore_patterns("__pycache__"))
            _open_to_all(draft)
            (draft / name).rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process made it first
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _open_to_all(folder: Path) -> None:
    for path, _, files in os.walk(folder):
        Path(path).chmod(0o755)
        for file in files:
            Path(path, file).chmod(0o644)
