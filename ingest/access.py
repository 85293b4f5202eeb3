"""Authentication and authorization by API keys, from the header `Authorization: Bearer`.

consumes  `api-keys` (as a view), if keys are switched on
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import ValidationError

from ingest.problems import ProblemError
from ingest.rates import Rates
from ingest.settings import IngestSettings
from topics.catalogue import Catalogue
from topics.kafka.tail import TailConsumer
from topics.security.api_keys import ApiKey, Scope, digest
from topics.settings import KafkaSettings
from topics.submissions.redaction import Concealment, concealment, redacted
from topics.submissions.state import Submission
from topics.times import now
from topics.views.view import View

log = logging.getLogger(__name__)

_BEARER = HTTPBearer(
    scheme_name="ApiKey",
    description="API key that `envicutor keys create` made. Required if ENVICUTOR_HTTP_KEYS is on.",
    auto_error=False,
)


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Caller:
    """Client that sent a request. Without API keys all clients are the same caller, with every right."""

    owner: str | None = None
    """Id of the API key; None if keys are off."""
    scopes: frozenset[Scope] = frozenset(Scope)
    unfinished: int | None = None
    """Quota: submissions that may be accepted and not finished; None for no bound."""
    reads_hidden: bool = True
    """Whether the caller is shown what hidden test cases contain and print."""
    still_allowed: Callable[[], bool] = _always
    """Whether the key is still active, for connections that stay open."""
    ceilings: Mapping[str, float] = field(default_factory=dict)
    """Highest limits of the caller's requests, by path, as `Quotas` has them."""

    @property
    def reads_all(self) -> bool:
        """Whether the caller may read submissions of other owners."""
        return Scope.READ_ALL in self.scopes

    def may_read(self, submission: Submission) -> bool:
        """Return whether the caller may read `submission`, or learn that it exists."""
        return self.reads_all or submission.owner == self.owner

    def shown(self, submission: Submission) -> Submission:
        """Return what the caller is shown of a submission that it may read."""
        return submission if self.reads_hidden else redacted(submission)

    def concealment(self, submission: Submission) -> Concealment:
        """Return what the event stream of a submission leaves out for the caller."""
        return Concealment() if self.reads_hidden else concealment(submission.request)

    def may_cancel(self, submission: Submission) -> bool:
        """Return whether the caller may cancel `submission`."""
        return Scope.OPERATE in self.scopes or submission.owner == self.owner


class Access:
    """Authentication of one node's callers, with rate limits that hold for this node."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        settings: IngestSettings,
        directory: Path,
        consumer: TailConsumer,
    ) -> None:
        self._retry_after_s = settings.retry_after_s
        topic = catalogue.api_keys.name
        self._keys = View(kafka, topic, directory, consumer=consumer) if settings.http_keys else None
        self._rates = Rates()

    async def start(self) -> None:
        """Start to consume `api-keys`, if keys are switched on."""
        if self._keys is not None:
            await self._keys.start()

    async def close(self) -> None:
        """Stop consuming `api-keys`, and close the table of keys."""
        if self._keys is not None:
            await self._keys.close()

    @property
    def ready(self) -> bool:
        """Whether all keys have been read, so that requests can be authenticated."""
        return self._keys is None or self._keys.caught_up

    def needs(self, *scopes: Scope) -> Callable[[HTTPAuthorizationCredentials | None], Awaitable[Caller]]:
        """Return a dependency for routes that yields the caller, whose key must have one of `scopes`.

        Without `scopes` any active key is sufficient. For the dependency's errors see `_caller`.
        """

        async def caller(
            credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        ) -> Caller:
            return self._caller(credentials, scopes)

        return caller

    def _caller(self, credentials: HTTPAuthorizationCredentials | None, scopes: tuple[Scope, ...]) -> Caller:
        """Return the caller with these credentials, and take a token of its rate limit.

        Raises:
            ProblemError: 401 without an active key, 403 without one of `scopes`, 429 beyond the key's rate,
                503 until all keys have been read.
        """
        if self._keys is None:
            return Caller()
        if not self._keys.caught_up:  # an old table may hold keys that were revoked since
            raise self._later(503, "unavailable", "the API keys are still being read", self._retry_after_s)
        if credentials is None:
            raise _unauthorized("an API key is needed: send `Authorization: Bearer KEY`")
        hashed = digest(credentials.credentials)
        key = self._active(hashed)
        if key is None:
            raise _unauthorized("this API key is unknown, expired or revoked: ask for another one")
        if wait_s := self._rates.take(key, time.monotonic()):
            detail = f"this API key may send {key.quotas.requests_per_s:g} requests per second: slow down"
            raise self._later(429, "too-many-requests", detail, math.ceil(wait_s))
        if scopes and not set(scopes) & set(key.scopes):
            needed, has = " or ".join(scopes), ", ".join(key.scopes)
            raise ProblemError(
                403, "forbidden", f"this needs an API key with the scope {needed}; yours has {has}"
            )
        return Caller(
            owner=key.id,
            scopes=frozenset(key.scopes),
            unfinished=key.quotas.unfinished,
            reads_hidden=key.reads_hidden,
            still_allowed=lambda: self._active(hashed) is not None,
            ceilings=key.quotas.ceilings,
        )

    def _active(self, hashed: str) -> ApiKey | None:
        """Return the active key with this digest, or None.

        A lookup by digest leaks no more by its duration than a comparison in constant time.
        """
        assert self._keys is not None
        raw = self._keys.get(hashed)
        try:
            key = None if raw is None else ApiKey.read(raw)
        except ValidationError:
            log.warning("cannot decode a record of `api-keys`: requests with that key are refused")
            return None
        return key if key is not None and key.state(now()) == "active" else None

    @staticmethod
    def _later(status: int, kind: str, detail: str, after_s: int) -> ProblemError:
        return ProblemError(status, kind, detail, headers={"Retry-After": str(after_s)})


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
