"""API keys: what stands on `api-keys` about each, and what makes one. Only its user has the key itself."""

import hashlib
import secrets
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model

STORED = "envicutor.api_key.stored.v1"
"""CloudEvents type of the records of `api-keys`."""


class Scope(StrEnum):
    """What one may do."""

    SUBMIT = "submit"
    """And cancel one's own."""
    READ = "read"
    """One's own."""
    READ_ALL = "read-all"
    """Everybody's; the system as a whole."""
    OPERATE = "operate"
    """Cancel anybody's; metrics and the system as a whole."""


_BEGINS = "envicutor_"
"""Tells people, and programs that look for leaked secrets, what they have found."""
_KEY_BYTES = 32
_ID_BYTES = 6


class Quotas(Model):
    """How much a key may ask for; None: no bound of its own."""

    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    """At each node, on the average."""
    burst: Annotated[int, Field(ge=1)] = 1
    """How many may come at once, after as long without any."""
    unfinished: Annotated[int, Field(ge=1)] | None = None
    """Submissions that are accepted and not finished."""


class ApiKey(Model):
    """A record of `api-keys`. Its key there is the `digest` of the API key."""

    id: str
    """Of whoever has the key: the `owner` of what is submitted with it."""
    name: str
    """For people."""
    scopes: tuple[Scope, ...]
    quotas: Quotas = Quotas()
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None

    def state(self, now: str) -> Literal["active", "expired", "revoked"]:
        """Whether it opens anything, at a time as `topics.times` writes it."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def new_key() -> str:
    """An API key that nobody guesses: 256 bits."""
    return _BEGINS + secrets.token_urlsafe(_KEY_BYTES)


def new_id() -> str:
    """Of a key: too long to be drawn twice."""
    return secrets.token_hex(_ID_BYTES)


def digest(key: str) -> str:
    """What a key is found by: SHA-256, in hexadecimal digits. (A key is random: nothing slower is needed.)"""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
