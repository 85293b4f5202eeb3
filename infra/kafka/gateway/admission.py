"""Admission of connections: bounds that no single address or user can exhaust for the others."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from infra.kafka.gateway.settings import GatewaySettings
from infra.kafka.properties import PRODUCER_ID_EXPIRATION_MS

LOGGING_IN = 128
"""Connections that have not logged in yet, at most. One more closes the oldest of the address that has most.
A flood from one address therefore hinders no logins from other addresses. It hinders logins from its own
address only if it opens 128 connections during one login."""

PRODUCERS = 1_000
"""Idempotent producers of one user within `PRODUCERS_S`, at most. The broker keeps state for each."""
PRODUCERS_S = PRODUCER_ID_EXPIRATION_MS / 1000
"""Time for which the broker keeps the state of an idle producer."""
GROUPS = 64
"""Consumer groups of one user within `GROUPS_S`, at most. The broker keeps their offsets for a year."""
GROUPS_S = 24 * 3600.0


class NotAdmittedError(Exception):
    """A user has too many connections or consumer groups, or all users together have too many connections."""


class RecentNames:
    """Names that each user has used recently, bounded in number."""

    def __init__(self, most: int, kept_s: float) -> None:
        self._most, self._kept_s = most, kept_s
        self._names: dict[str, dict[bytes | int, float]] = {}
        """Time of the last use by user and name, the longest unused first."""

    def admit(self, user: str, name: bytes | int, now_s: float) -> bool:
        """Record that a user uses a name. Return False if the user has `most` other recent names already."""
        names = self._names.setdefault(user, {})
        if names.pop(name, None) is None and len(names) >= self._most:
            oldest = next(iter(names))
            if now_s - names[oldest] < self._kept_s:
                return False
            del names[oldest]
        names[name] = now_s
        return True


class Admission:
    """Open connections, and the state that their users made the broker keep."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._logging_in: dict[asyncio.Task[None], str] = {}
        """Client address by task of a connection, the oldest first."""
        self._users: Counter[str] = Counter()
        self.producers = RecentNames(PRODUCERS, PRODUCERS_S)
        self.groups = RecentNames(GROUPS, GROUPS_S)

    @contextmanager
    def logging_in(self, task: "asyncio.Task[None]", address: str) -> Iterator[None]:
        """Count a connection until `forget` or the end of the context.

        This may cancel the task of another connection that has not logged in yet.
        """
        if len(self._logging_in) >= LOGGING_IN:
            [(most, _)] = Counter(self._logging_in.values()).most_common(1)
            oldest = next(task for task, other in self._logging_in.items() if other == most)
            self.forget(oldest)
            oldest.cancel()
        self._logging_in[task] = address
        try:
            yield
        finally:
            self.forget(task)

    def forget(self, task: "asyncio.Task[None]") -> None:
        """Stop to count a connection, since it has logged in or ended."""
        self._logging_in.pop(task, None)

    @contextmanager
    def logged_in(self, user: str) -> Iterator[None]:
        """Count a connection of a user until the end of the context.

        Raises:
            NotAdmittedError: this user, or all users together, have too many connections.
        """
        if self._users[user] >= self._settings.connections_per_user:
            raise NotAdmittedError(f"user {user!r} has {self._users[user]} connections already")
        if self._users.total() >= self._settings.connections:
            raise NotAdmittedError(f"there are {self._users.total()} connections already")
        self._users[user] += 1
        try:
            yield
        finally:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]
