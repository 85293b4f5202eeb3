"""API keys: their records on `api-keys`, and their creation. Only the user of a key has the key itself."""

import hashlib
import secrets
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model

STORED = "envicutor.api_key.stored.v1"
"""CloudEvents type of the records of `api-keys`."""


class Scope(StrEnum):
    """Permission of an API key."""

    SUBMIT = "submit"
    """Create submissions, and cancel those of the same owner."""
    READ = "read"
    """Read the submissions of the same owner."""
    READ_ALL = "read-all"
    """Read the submissions of all owners, and the state of the system."""
    OPERATE = "operate"
    """Cancel submissions of all owners; read metrics and the state of the system."""


_BEGINS = "envicutor_"
"""Prefix by which people, and programs that look for leaked secrets, recognise a key."""
_KEY_BYTES = 32
_ID_BYTES = 6


class Quotas(Model):
    """Quotas of an API key; None means that the key has no bound of its own."""

    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    """Requests per second to each ingest node, on average."""
    burst: Annotated[int, Field(ge=1)] = 1
    """Requests that a node accepts at once after an idle time of `burst / requests_per_s` seconds."""
    unfinished: Annotated[int, Field(ge=1)] | None = None
    """Submissions of the owner that may be accepted and not finished."""
    ceilings: dict[str, int | float] = Field(default={}, exclude_if=lambda ceilings: not ceilings)
    """Highest limits that requests may set with the key, by path, such as `{"run.wall_time_s": 5}`, if they
    are lower than those of the system."""


class ApiKey(Model):
    """A record of `api-keys`. Its key there is the `digest` of the API key."""

    id: str
    """Random id of the API key: the `owner` of submissions made with it."""
    name: str
    """Name that an operator gave the key, for people."""
    scopes: tuple[Scope, ...]
    """Permissions of the key."""
    reads_hidden: Annotated[bool, Field(exclude_if=lambda reads_hidden: not reads_hidden)] = False
    """Whether the key is shown what hidden test cases contain and print, of submissions that it may read."""
    quotas: Quotas = Quotas()
    """Bounds on the use of the key."""
    created_at: str
    """Time of creation: RFC 3339, UTC."""
    expires_at: str | None = None
    """Time from which the key is refused: RFC 3339, UTC; None if it does not expire."""
    revoked_at: str | None = None
    """Time of revocation: RFC 3339, UTC; None if the key was not revoked."""

    def state(self, now: str) -> Literal["active", "expired", "revoked"]:
        """Return whether the key is accepted at a time that `topics.times` wrote."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def new_key() -> str:
    """Return a new API key with 256 random bits, which cannot be guessed."""
    return _BEGINS + secrets.token_urlsafe(_KEY_BYTES)


def new_id() -> str:
    """Return a random id for an API key, long enough not to be drawn twice."""
    return secrets.token_hex(_ID_BYTES)


def digest(key: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal digits, by which its record is found.

    A key is random, so no slower hash function is needed.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
