"""Lists of submissions, newest first, from the index of the projection's table.

The index has one key of a submission for each filter value that it matches: its status, its outcome, each of
its tags. A list reads the keys of its most selective filter backwards, and skips rows that the other filters
exclude. It reads a bounded number of rows: a page may be short, even empty, and still not be the last.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, Field

from ingest.models import Listed, SubmissionPage
from topics.request.files import SubmissionId
from topics.request.model import TAGS, Tag
from topics.submissions.stage import Outcome
from topics.submissions.state import Status, Submission
from topics.times import milliseconds
from topics.views.table import Table, TableIndex

IDS = 100
"""Submissions that one request may name by `id`."""
LIMIT, LIMIT_MAX = 50, 200
"""Submissions on a page: the default, and the largest `limit`."""
ROWS_READ = 5000
"""Rows that are read for one page, which bounds its cost if filters hardly ever match together."""
_TIME_BYTES = 8


class Query(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Filters of a list, all of which must match, and the position of the page; or ids, and fields."""

    id: Annotated[list[SubmissionId], Field(max_length=IDS, fail_fast=True)] = []
    """Id of a submission that is shown whole, instead of a list; repeat the parameter for several. The answer
    has them in the order of the ids, and null for one that does not exist. No filter goes with it."""
    fields: str | None = None
    """Fields of the submissions that `id` names, separated by commas; all by default."""

    status: Status | None = None
    """Status that a submission must have."""
    outcome: Outcome | None = None
    """Outcome that a submission must have."""
    tag: Annotated[list[Tag], Field(max_length=TAGS, fail_fast=True)] = []
    """Tag that a submission must have; repeat the parameter for several tags."""
    created_from: datetime | None = None
    """Earliest creation time, ISO 8601; UTC without an offset."""
    created_before: datetime | None = None
    """Time before which a submission was created, ISO 8601; UTC without an offset."""
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = LIMIT
    """Largest number of submissions on the page."""
    cursor: Annotated[str | None, Field(max_length=200)] = None
    """Value `next` of the previous page."""

    @property
    def facet(self) -> bytes:
        """Facet of the filter that probably matches the fewest submissions."""
        asked = {"tag": next(iter(self.tag), None), "outcome": self.outcome, "status": self.status}
        return next((_facet(name, value) for name, value in asked.items() if value is not None), _ALL)

    def allows(self, listed: Listed) -> bool:
        """Return whether `listed` matches all filters but those of time."""
        return (
            self.status in {None, listed.status}
            and self.outcome in {None, listed.outcome}
            and set(self.tag) <= set(listed.tags)
        )


class BadCursorError(ValueError):
    """Error: the parameter `cursor` is not the `next` of any page."""


class Place(NamedTuple):
    """Position of a submission in the order of lists, by creation time and id."""

    created_ms: int
    id: str

    @property
    def key(self) -> bytes:
        """Bytes of the position, which have the same order."""
        return self.created_ms.to_bytes(_TIME_BYTES) + self.id.encode()

    @classmethod
    def of(cls, key: bytes) -> Self:
        """Return the position whose `key` is given."""
        return cls(int.from_bytes(key[:_TIME_BYTES]), key[_TIME_BYTES:].decode())


def index() -> TableIndex:
    """Return the definition of the index that the table of submissions maintains for lists."""
    return TableIndex("listing-3", _keys)


def listed(submission: Submission) -> Listed:
    """Return the summary of a submission."""
    return Listed(
        id=submission.id,
        status=submission.status,
        attempt=submission.attempt,
        created_at=submission.created_at,
        finished_at=submission.finished_at,
        outcome=submission.outcome,
        tags=submission.request.tags if submission.request else (),
        owner=submission.owner,
    )


def page(table: Table, query: Query, owner: str | None = None) -> SubmissionPage:
    """Return the page that `query` selects, of submissions of `owner` only if given; read from disk.

    Raises:
        BadCursorError: the cursor is not the `next` of any page.
    """
    found: list[Listed] = []
    earliest_ms = 0 if query.created_from is None else _milliseconds(query.created_from)
    for number, key in enumerate(table.indexed(_owner_facet(owner) + query.facet, _before(query)), 1):
        place = Place.of(key)
        if place.created_ms < earliest_ms:
            break
        summary = table.summary(place.id.encode())
        if summary is not None and query.allows(one := Listed.model_validate_json(summary)):
            found.append(one)
        if len(found) == query.limit or number == ROWS_READ:
            return SubmissionPage(submissions=found, next=base64.urlsafe_b64encode(key).decode())
    return SubmissionPage(submissions=found, next=None)


def ids(table: Table, status: Status) -> list[str]:
    """Return the ids of all submissions with this status, newest first; read from disk."""
    return [Place.of(key).id for key in table.indexed(_facet("status", status))]


def _before(query: Query) -> bytes | None:
    before = None if query.created_before is None else _milliseconds(query.created_before)
    latest = None if before is None else before.to_bytes(_TIME_BYTES)
    if query.cursor is None:
        return latest
    try:
        key = base64.b64decode(query.cursor, altchars=b"-_", validate=True)
        if not Place.of(key).id:
            raise ValueError("the cursor has no id")
    except (binascii.Error, ValueError) as error:
        raise BadCursorError("use the `next` of a page, unchanged") from error
    return key if latest is None else min(key, latest)


def _keys(summary: bytes) -> Iterator[bytes]:
    one = Listed.model_validate_json(summary)
    place = Place(milliseconds(one.created_at), one.id).key
    # A caller that may read only its own submissions gets an index of these alone: neither duration nor
    # cursors then disclose submissions of other owners.
    wholes = (b"",) if one.owner is None else (b"", _owner_facet(one.owner))
    return (whole + facet + place for whole in wholes for facet in _facets(one))


_ALL = b"\0"


def _facets(one: Listed) -> Iterable[bytes]:
    yield _ALL
    yield _facet("status", one.status)
    if one.outcome is not None:
        yield _facet("outcome", one.outcome)
    for tag in sorted(set(one.tags)):
        yield _facet("tag", tag)


def _owner_facet(owner: str | None) -> bytes:
    return b"" if owner is None else _facet("owner", owner)


def _facet(name: str, value: str) -> bytes:
    return f"{name}={value}\0".encode()


def _milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, round(aware.timestamp() * 1000))
