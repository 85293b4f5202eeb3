"""Sandboxes that are made before there is a program for them.

An optimisation: namespaces, above all that of the network, take a third of the time that a sandbox takes.
A launcher waits for its orders anyway, so that the same code makes and uses both kinds. Without it `of` would
always start a launcher.
"""

import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from processors.sandbox import launcher
from processors.sandbox.launcher import LauncherServer, WaitingLauncher
from processors.sandbox.model import SandboxError
from processors.sandbox.orders import sandbox_command

_CLOSE_S = 1.0
"""Time after which launchers are killed that do not end with their channel; they take some milliseconds."""


class PreparedSandboxes:
    """User ids of boxes, and launchers of sandboxes for some of them. No program has run in any of these."""

    def __init__(self, server: LauncherServer, root: bytes, uids: Iterable[int], count: int) -> None:
        """Prepare up to `count` sandboxes at a time for boxes with user ids of `uids`.

        `root` are the encoded orders for the root of each.
        """
        self._server, self._root, self._count = server, root, count
        self._free_uids = deque(uids)
        self._waiting: deque[tuple[int, WaitingLauncher]] = deque()
        self._taken: dict[int, WaitingLauncher] = {}
        self.hits = 0
        """Stages that used a prepared sandbox."""
        self.misses = 0
        """Stages whose sandbox was made when it was needed."""

    @property
    def uids(self) -> list[int]:
        """User ids of the sandboxes that wait for a box."""
        return [uid for uid, _ in self._waiting]

    def make(self) -> None:
        """Prepare sandboxes, if some were used. A failure is ignored: the next stage makes its own."""
        with suppress(SandboxError):
            while len(self._waiting) < self._count and self._free_uids:
                self._waiting.append((self._free_uids[0], self._start(self._free_uids[0])))
                self._free_uids.popleft()

    def take_uid(self) -> int | None:
        """Return a user id for a box, with a sandbox for its first stage if one is prepared.

        Return None if all are in use.
        """
        if self._waiting:
            uid, waiting = self._waiting.popleft()
            self._taken[uid] = waiting
            return uid
        return self._free_uids.popleft() if self._free_uids else None

    def give_back(self, uid: int) -> None:
        """Make the user id of a box available again, as late as possible."""
        self._free_uids.append(uid)

    def of(self, uid: int) -> WaitingLauncher:
        """Return the launcher that was prepared for a box, or a new one.

        Raises:
            SandboxError: the launcher cannot be started.
        """
        waiting = self._taken.pop(uid, None)
        if waiting and not waiting.process.has_ended():
            self.hits += 1
            return waiting
        if waiting:  # it was killed
            waiting.close()
        self.misses += 1
        return self._start(uid)

    def unused(self, uid: int) -> WaitingLauncher | None:
        """Return the launcher that was prepared for a box, if no stage used it, for the caller to end it."""
        return self._taken.pop(uid, None)

    def close(self) -> None:
        """End all sandboxes that were not used, and prepare no more."""
        self._count = 0
        for _, waiting in self._waiting:
            waiting.close()
        deadline = time.monotonic() + _CLOSE_S
        for _, waiting in self._waiting:
            while not waiting.process.has_ended() and time.monotonic() < deadline:
                time.sleep(0.001)
            waiting.process.kill()
            waiting.process.wait()
        self._waiting.clear()

    def _start(self, uid: int) -> WaitingLauncher:
        return launcher.start(self._server, sandbox_command(uid, self._root))
