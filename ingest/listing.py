"""Lists of submissions, newest first, from an index on disk beside the view of `submissions.store`.

A submission stands in the index once for each thing that one can ask for; a list reads the rarest of those
that were asked for, backwards, and leaves out what the others do not allow. It looks at so many rows at most:
a page may be short, even empty, and still not be the last.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, Field
from pydantic_core import from_json

from ingest.models import Listed, Page
from topics.request.model import TAGS, Tag
from topics.submissions.stage import Outcome
from topics.submissions.state import Status
from topics.times import milliseconds
from topics.views.table import TableIndex
from topics.views.view import View

LIMIT, LIMIT_MAX = 50, 200
"""Submissions on a page: by default, and at most."""
LOOKED_AT = 5000
"""Rows that one page looks at."""
_TIME_BYTES = 8


class Query(BaseModel, extra="forbid"):
    """What is asked for: all of it must be so."""

    status: Status | None = None
    outcome: Outcome | None = None
    tag: Annotated[list[Tag], Field(max_length=TAGS, fail_fast=True)] = Field(
        default=[], description="One of the tags; repeated, all of them."
    )
    created_from: datetime | None = Field(default=None, description="Created then or later; UTC by default.")
    created_before: datetime | None = None
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = LIMIT
    cursor: Annotated[str | None, Field(max_length=200, description="`next` of the page before.")] = None

    @property
    def facet(self) -> bytes:
        """The rarest thing that is asked for, as far as one can know."""
        asked = {"tag": next(iter(self.tag), None), "outcome": self.outcome, "status": self.status}
        return next((_facet(name, value) for name, value in asked.items() if value is not None), _ALL)

    def allows(self, listed: Listed) -> bool:
        """Whether it is what is asked for, apart from time."""
        return (
            self.status in {None, listed.status}
            and self.outcome in {None, listed.outcome}
            and set(self.tag) <= set(listed.tags)
        )


class BadCursorError(ValueError):
    """The cursor is none of ours."""


class Place(NamedTuple):
    """Where a submission stands in the order."""

    created_ms: int
    id: str

    @property
    def key(self) -> bytes:
        """Ordered as places are."""
        return self.created_ms.to_bytes(_TIME_BYTES) + self.id.encode()

    @classmethod
    def of(cls, key: bytes) -> Self:
        """Of a key."""
        return cls(int.from_bytes(key[:_TIME_BYTES]), key[_TIME_BYTES:].decode())


def index() -> TableIndex:
    """To be kept by the view."""
    return TableIndex("listing-2", _summary, _keys)


def page(view: View, query: Query, owner: str | None = None) -> Page:
    """The part of the list that `query` asks for, of `owner` only, if given; reads from disk.

    Raises:
        BadCursorError: see there.
    """
    found: list[Listed] = []
    earliest_ms = 0 if query.created_from is None else _milliseconds(query.created_from)
    for number, key in enumerate(view.indexed(_of(owner) + query.facet, _before(query)), 1):
        place = Place.of(key)
        if place.created_ms < earliest_ms:
            break
        summary = view.summary(place.id)
        if summary is not None and query.allows(listed := Listed.model_validate_json(summary)):
            found.append(listed)
        if len(found) == query.limit or number == LOOKED_AT:
            return Page(submissions=found, next=base64.urlsafe_b64encode(key).decode())
    return Page(submissions=found, next=None)


def ids(view: View, status: Status) -> list[str]:
    """Of all submissions of this status, newest first; reads from disk."""
    return [Place.of(key).id for key in view.indexed(_facet("status", status))]


def _before(query: Query) -> bytes | None:
    before = None if query.created_before is None else _milliseconds(query.created_before)
    latest = None if before is None else before.to_bytes(_TIME_BYTES)
    if query.cursor is None:
        return latest
    try:
        key = base64.b64decode(query.cursor, altchars=b"-_", validate=True)
        if not Place.of(key).id:
            raise ValueError("it names nothing")
    except (binascii.Error, ValueError) as error:
        raise BadCursorError("give the `next` of a page, as it was") from error
    return key if latest is None else min(key, latest)


def _summary(row: bytes) -> bytes:
    stored = from_json(row)
    tags = (stored.get("request") or {}).get("tags", ())
    fields = {name: stored[name] for name in Listed.model_fields if name not in {"tags", "owner"}}
    return Listed(**fields, owner=stored.get("owner"), tags=tags).model_dump_json().encode()


def _keys(summary: bytes) -> Iterator[bytes]:
    listed = Listed.model_validate_json(summary)
    place = Place(milliseconds(listed.created_at), listed.id).key
    # Whoever may read only their own finds them among their own: neither speed nor cursors tell of others'.
    wholes = (b"",) if listed.owner is None else (b"", _of(listed.owner))
    return (whole + facet + place for whole in wholes for facet in _facets(listed))


_ALL = b"\0"


def _facets(listed: Listed) -> Iterable[bytes]:
    yield _ALL
    yield _facet("status", listed.status)
    if listed.outcome is not None:
        yield _facet("outcome", listed.outcome)
    for tag in sorted(set(listed.tags)):
        yield _facet("tag", tag)


def _of(owner: str | None) -> bytes:
    return b"" if owner is None else _facet("owner", owner)


def _facet(name: str, value: str) -> bytes:
    return f"{name}={value}\0".encode()


def _milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, round(aware.timestamp() * 1000))
