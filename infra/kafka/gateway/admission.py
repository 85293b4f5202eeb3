"""Who may have a connection: bounds that one address or one user cannot use up for the others."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from infra.kafka.gateway.settings import GatewaySettings
from infra.kafka.properties import PRODUCER_ID_EXPIRATION_MS

LOGGING_IN = 128
"""Connections that have not logged in yet. One more closes the oldest of the address that has most of them,
so that a flood from one address hinders logins neither from another nor, unless it is faster than a login
takes, from its own."""


PRODUCERS = 1_000
"""Idempotent producers of one user within `PRODUCERS_S`: the broker keeps the state of each for so long."""
PRODUCERS_S = PRODUCER_ID_EXPIRATION_MS / 1000
GROUPS = 64
"""Consumer groups of one user within `GROUPS_S`: the broker keeps their offsets for a year."""
GROUPS_S = 24 * 3600.0


class NotAdmittedError(Exception):
    """There are too many connections; the message says of whom."""


class RecentNames:
    """The names that each user has used lately: so many, and no more."""

    def __init__(self, most: int, kept_s: float) -> None:
        self._most, self._kept_s = most, kept_s
        self._names: dict[str, dict[bytes | int, float]] = {}
        """By user, in the order of their last use."""

    def admit(self, user: str, name: bytes | int, now_s: float) -> bool:
        """Note that a name is used; whether it may be."""
        names = self._names.setdefault(user, {})
        if names.pop(name, None) is None and len(names) >= self._most:
            oldest = next(iter(names))
            if now_s - names[oldest] < self._kept_s:
                return False
            del names[oldest]
        names[name] = now_s
        return True


class Admission:
    """The connections that there are, and what their users have made the broker keep."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._logging_in: dict[asyncio.Task[None], str] = {}
        """The tasks of connections, in their order, with the client's address."""
        self._users: Counter[str] = Counter()
        self.producers = RecentNames(PRODUCERS, PRODUCERS_S)
        self.groups = RecentNames(GROUPS, GROUPS_S)

    @contextmanager
    def logging_in(self, task: "asyncio.Task[None]", address: str) -> Iterator[None]:
        """Hold a place for a connection until `forget` or the end of the context; may cancel another's
        task."""
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
        """The connection has logged in, or is at its end."""
        self._logging_in.pop(task, None)

    @contextmanager
    def logged_in(self, user: str) -> Iterator[None]:
        """Hold a place for a connection of a user.

        Raises:
            NotAdmittedError: there are too many of this user, or of all.
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
