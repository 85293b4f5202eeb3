"""Who asks, and what they may: API keys, by the header `Authorization: Bearer`.

consumes  `api-keys` (as a view), where keys are switched on
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import ValidationError

from ingest.problems import ProblemError
from ingest.rates import Rates
from ingest.settings import IngestSettings
from topics.catalogue import Catalogue
from topics.security.api_keys import ApiKey, Scope, digest
from topics.settings import KafkaSettings
from topics.submissions.state import Submission
from topics.times import now
from topics.views.view import View

log = logging.getLogger(__name__)

_BEARER = HTTPBearer(
    scheme_name="ApiKey",
    description="Made by `envicutor keys create`. Needed where ENVICUTOR_HTTP_KEYS is on.",
    auto_error=False,
)


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; without API keys everybody is the same one, who may do everything."""

    owner: str | None = None
    scopes: frozenset[Scope] = frozenset(Scope)
    unfinished: int | None = None
    """Quota: how many submissions may be accepted and not finished."""
    still_allowed: Callable[[], bool] = _always
    """Whether that is so at this moment, for whoever stays connected."""

    @property
    def reads_all(self) -> bool:
        """Whether it may read what others submitted."""
        return Scope.READ_ALL in self.scopes

    def may_read(self, submission: Submission) -> bool:
        """Whether it may know of it at all."""
        return self.reads_all or submission.owner == self.owner

    def may_cancel(self, submission: Submission) -> bool:
        """Whether it may stop it."""
        return Scope.OPERATE in self.scopes or submission.owner == self.owner


class Access:
    """The door of one node."""

    def __init__(
        self, kafka: KafkaSettings, catalogue: Catalogue, settings: IngestSettings, directory: Path
    ) -> None:
        self._retry_after_s = settings.retry_after_s
        self._keys = View(kafka, catalogue.api_keys.name, directory) if settings.http_keys else None
        self._rates = Rates()

    async def start(self) -> None:
        """Begin to read which keys there are."""
        if self._keys is not None:
            await self._keys.start()

    async def close(self) -> None:
        """Stop reading."""
        if self._keys is not None:
            await self._keys.close()

    @property
    def ready(self) -> bool:
        """Whether it is known which keys there are."""
        return self._keys is None or self._keys.caught_up

    def needs(self, *scopes: Scope) -> Callable[[HTTPAuthorizationCredentials | None], Awaitable[Caller]]:
        """A dependency of routes: who asks, whose key has one of `scopes`; or any key, where none is named.

        It raises:
            ProblemError: 401 without a key that is good, 403 without a scope, 429 beyond the key's rate,
                503 while it is not known yet which keys there are.
        """

        async def caller(
            credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        ) -> Caller:
            return self._caller(credentials, scopes)

        return caller

    def _caller(self, credentials: HTTPAuthorizationCredentials | None, scopes: tuple[Scope, ...]) -> Caller:
        if self._keys is None:
            return Caller()
        if not self._keys.caught_up:  # a table of before a pause knows keys that were revoked meanwhile
            raise self._later(503, "unavailable", "the API keys are still being read", self._retry_after_s)
        if credentials is None:
            raise _unauthorized("an API key is needed: send `Authorization: Bearer KEY`")
        hashed = digest(credentials.credentials)
        key = self._active(hashed)
        if key is None:
            raise _unauthorized("this API key is unknown, expired or revoked: ask for another one")
        if wait_s := self._rates.take(key, time.monotonic()):
            detail = f"this API key may ask {key.quotas.requests_per_s:g} times a second: slow down"
            raise self._later(429, "too-many-requests", detail, math.ceil(wait_s))
        if scopes and not set(scopes) & set(key.scopes):
            needed, has = " or ".join(scopes), ", ".join(key.scopes)
            raise ProblemError(
                403, "forbidden", f"this needs an API key with the scope {needed}; yours has {has}"
            )
        return Caller(
            key.id, frozenset(key.scopes), key.quotas.unfinished, lambda: self._active(hashed) is not None
        )

    def _active(self, hashed: str) -> ApiKey | None:
        """The key with this digest, which is as good as a comparison that tells nothing by its time."""
        assert self._keys is not None
        raw = self._keys.get(hashed)
        try:
            key = None if raw is None else ApiKey.read(raw)
        except ValidationError:
            log.warning("a record of `api-keys` cannot be read: whoever has that key is refused")
            return None
        return key if key is not None and key.state(now()) == "active" else None

    @staticmethod
    def _later(status: int, kind: str, detail: str, after_s: int) -> ProblemError:
        return ProblemError(status, kind, detail, headers={"Retry-After": str(after_s)})


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
