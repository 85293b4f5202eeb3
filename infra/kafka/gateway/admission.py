"""Who may have a connection: bounds that one address or one user cannot use up for the others."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from infra.kafka.gateway.settings import GatewaySettings
from infra.kafka.properties import PRODUCER_ID_EXPIRATION_MS

LOGGING_IN = 128
"""Connections that have not logged in yet. One more closes the oldest of the address that has most of them.
So a flood from one address hinders no logins from another address. It hinders those from its own only if it
opens 128 connections during one login."""

PRODUCERS = 1_000
"""Idempotent producers of one user within `PRODUCERS_S`."""
PRODUCERS_S = PRODUCER_ID_EXPIRATION_MS / 1000
"""The broker keeps the state of a silent producer for this long."""
GROUPS = 64
"""Consumer groups of one user within `GROUPS_S`. The broker keeps their offsets for a year."""
GROUPS_S = 24 * 3600.0


class NotAdmittedError(Exception):
    """A user has too many connections or consumer groups, or there are too many connections in all."""


class RecentNames:
    """The names that each user has used recently; their number is bounded."""

    def __init__(self, most: int, kept_s: float) -> None:
        self._most, self._kept_s = most, kept_s
        self._names: dict[str, dict[bytes | int, float]] = {}
        """By user, in the order of their last use."""

    def admit(self, user: str, name: bytes | int, now_s: float) -> bool:
        """Record that a user uses a name; return False if the user has `most` other names already."""
        names = self._names.setdefault(user, {})
        if names.pop(name, None) is None and len(names) >= self._most:
            oldest = next(iter(names))
            if now_s - names[oldest] < self._kept_s:
                return False
            del names[oldest]
        names[name] = now_s
        return True


class Admission:
    """The open connections, and what their users made the broker keep."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._logging_in: dict[asyncio.Task[None], str] = {}
        """By task of a connection, oldest first: the client's address."""
        self._users: Counter[str] = Counter()
        self.producers = RecentNames(PRODUCERS, PRODUCERS_S)
        self.groups = RecentNames(GROUPS, GROUPS_S)

    @contextmanager
    def logging_in(self, task: "asyncio.Task[None]", address: str) -> Iterator[None]:
        """Count a connection until `forget` or the end of the context; may cancel the task of another one."""
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
        """Count a connection no longer, since it has logged in or ended."""
        self._logging_in.pop(task, None)

    @contextmanager
    def logged_in(self, user: str) -> Iterator[None]:
        """Count a connection of a user until the end of the context.

        Raises:
            NotAdmittedError: this user, or all users together, have too many.
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
