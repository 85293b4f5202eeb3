"""How many submissions are accepted and not finished: of everybody, and of each owner."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.following import Following
from topics.views.view import View


class Load:
    """As far as this node knows, those on their way included."""

    def __init__(self, view: View, following: Following) -> None:
        """`view` flags what is unfinished, by owner."""
        self._view, self._following = view, following
        self._awaiting_verdict: Counter[str | None] = Counter()

    @contextmanager
    def awaiting_verdict(self, owner: str | None) -> Iterator[None]:
        """Count one whose id may have been used before, until the store shows what became of it."""
        self._awaiting_verdict[owner] += 1
        try:
            yield
        finally:
            self._awaiting_verdict[owner] -= 1

    def reaches(self, bound: int) -> bool:
        """Whether so many are unfinished."""
        known = self._view.flagged + self._awaiting_verdict.total()
        return self._following.unseen_at_most + known >= bound and (
            known + self._following.unfinished_beside_view() >= bound
        )

    def reaches_of(self, owner: str | None, bound: int) -> bool:
        """Whether so many of this owner's are."""
        known = self._view.flagged_as(owner or "") + self._awaiting_verdict[owner]
        return self._following.unseen_at_most + known >= bound and (
            known + self._following.unfinished_beside_view_of(owner) >= bound
        )
