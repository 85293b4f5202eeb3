"""Number of accepted, unfinished submissions: of all owners, and of each."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.following import Following
from topics.views.view import View


class Load:
    """Unfinished submissions that this node knows, including those that the store does not have yet."""

    def __init__(self, view: View, following: Following) -> None:
        """Count the rows to which `view` gives a status, which is their owner: the unfinished ones."""
        self._view, self._following = view, following
        self._awaiting_verdict: Counter[str | None] = Counter()

    @contextmanager
    def resolving_id(self, owner: str | None) -> Iterator[None]:
        """Count a request whose id may have been used before, until the store shows its result."""
        self._awaiting_verdict[owner] += 1
        try:
            yield
        finally:
            self._awaiting_verdict[owner] -= 1

    def reaches(self, bound: int) -> bool:
        """Return whether at least `bound` submissions are unfinished."""
        known = self._view.with_status + self._awaiting_verdict.total()
        return self._following.unseen_at_most + known >= bound and (
            known + self._following.unfinished_beside_view() >= bound
        )

    def reaches_of(self, owner: str | None, bound: int) -> bool:
        """Return whether at least `bound` submissions of this owner are unfinished."""
        known = self._view.count(owner or "") + self._awaiting_verdict[owner]
        return self._following.unseen_at_most + known >= bound and (
            known + self._following.unfinished_beside_view_of(owner) >= bound
        )
