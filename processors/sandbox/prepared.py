"""Sandboxes that are made before there is a program for them.

An optimisation: namespaces, above all that of the network, take a third of the time that a sandbox takes.
A launcher waits for its orders anyway, so that the same code makes and uses both kinds. Without this module
each launcher would be started when it is needed.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from processors.sandbox import launcher
from processors.sandbox.launcher import Launched, LauncherServer, WaitingLauncher
from processors.sandbox.model import SandboxError
from processors.sandbox.orders import Descriptors, Order, sandbox_command


class PreparedSandboxes:
    """Launchers of sandboxes by the user id that they run as. No program has run in any of them."""

    def __init__(
        self, server: LauncherServer, root: Sequence[Order], free_uids: list[int], most: int
    ) -> None:
        """Prepare at most `most` sandboxes with user ids of `free_uids`, which the caller shares.

        `root` are the orders for the root of each.
        """
        self._server, self._root, self._free_uids, self._most = server, root, free_uids, most
        self._spare: deque[tuple[int, WaitingLauncher]] = deque()
        self._taken: dict[int, WaitingLauncher] = {}
        self.hits = 0
        """Stages that used a prepared sandbox."""
        self.misses = 0
        """Stages whose sandbox was made when it was needed."""

    @property
    def uids(self) -> list[int]:
        """User ids of the sandboxes that wait for a box."""
        return [uid for uid, _ in self._spare]

    def make(self) -> None:
        """Prepare sandboxes, if some were used. A failure is ignored: the next stage makes its own."""
        while len(self._spare) < self._most and self._free_uids:
            uid = self._free_uids[0]
            try:
                waiting = launcher.start(self._server, sandbox_command(uid, self._root))
            except (SandboxError, OSError):
                return
            self._spare.append((self._free_uids.pop(0), waiting))

    def take_uid(self) -> int | None:
        """Return a user id for a box, with a sandbox for its first stage if one is prepared.

        Return None if all are in use.
        """
        if self._spare:
            uid, waiting = self._spare.popleft()
            self._taken[uid] = waiting
            return uid
        return self._free_uids.pop(0) if self._free_uids else None

    def drop(self, uid: int) -> None:
        """End the sandbox of a box that did not use it."""
        if waiting := self._taken.pop(uid, None):
            waiting.abandon()

    def launch(
        self,
        uid: int,
        orders: Callable[[Descriptors], bytes],
        *,
        stdin: bytes,
        groups: Sequence[Path],
        trees: Sequence[Path],
        passed: Sequence[int],
    ) -> Launched:
        """Give orders to the sandbox that was prepared for a box, or to a new one.

        See `launcher.launch` for the arguments.

        Raises:
            SandboxError: the launcher cannot be started.
        """
        launch = partial(
            launcher.launch, orders=orders, stdin=stdin, groups=groups, trees=trees, passed=passed, owner=uid
        )
        if waiting := self._taken.pop(uid, None):
            with suppress(SandboxError):  # it was killed meanwhile
                launched = launch(waiting)
                self.hits += 1
                return launched
        self.misses += 1
        return launch(launcher.start(self._server, sandbox_command(uid, self._root)))

    def close(self) -> None:
        """End all sandboxes that were not used."""
        for _, waiting in self._spare:
            waiting.abandon()
        self._spare.clear()
