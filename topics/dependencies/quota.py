"""The bound on unfinished builds of one owner, by which a request handler refuses requests for more."""

from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

from topics.dependencies.fold import starts_build
from topics.dependencies.state import EnvironmentState, unfinished_of
from topics.request.errors import FieldError
from topics.request.limits import DependenciesLimits

RECOUNT_MS = 100
"""Shortest time between two counts, row by row, of an owner that is at the bound: each reads up to as many
rows as the bound allows."""


class EnvironmentRows(Protocol):
    """`dependencies.store`; a `View` whose `status_of` is `unfinished_by_owner` is one."""

    def get(self, key: str) -> bytes | None:
        """Return the row of these dependencies, or None."""
        ...

    def count(self, status: str) -> int:
        """Return the number of rows to which `unfinished_by_owner` gives this status."""
        ...


class BuildQuota:
    """Unfinished builds by owner: those in the store, and those that accepted submissions will request.

    A worker requests a build some time after its submission was accepted. Until then only the process that
    accepted it counts it. So several processes may accept more than the bound together.
    """

    def __init__(
        self, most: int, environments: EnvironmentRows, is_unfinished: Callable[[str], bool]
    ) -> None:
        """Allow each owner `most` builds; `is_unfinished` returns whether a submission has no end yet."""
        self._most, self._environments, self._is_unfinished = most, environments, is_unfinished
        self._accepted: defaultdict[str, dict[str, str]] = defaultdict(dict)
        """Dependencies of accepted submissions, with the last submission of each, by owner."""
        self._recounts: dict[str, tuple[int, int]] = {}
        """Time of the last recount that left an owner at the bound, and its builds in the store then."""

    def admits(self, owner: str, id: str, limits: DependenciesLimits, now_ms: int) -> bool:
        """Return whether a submission of `owner` with dependencies `id` may be accepted.

        That is so below the bound, and if they are built already, being built, or failed lately. At the bound
        an accepted submission that ended without a build is noticed up to `RECOUNT_MS` late.
        """
        return (
            self._is_below_bound(owner, now_ms)
            or any(id in accepted for accepted in self._accepted.values())
            or not starts_build(self._state(id), limits, now_ms)
        )

    def note(self, owner: str, id: str, submission_id: str) -> None:
        """Count the dependencies `id` of a submission that is accepted now.

        They count even if they need no build, until the owner is at the bound: this reads no row.
        """
        self._accepted[owner][id] = submission_id

    def refusal(self) -> FieldError:
        """Return the error of a request that is not admitted."""
        message = (
            f"{self._most} environments are requested and not built yet, which is the limit of each client "
            "(max_unfinished_builds): wait for one of them, or use dependencies that are built"
        )
        return FieldError(field="dependencies", message=message, limit=self._most)

    def _is_below_bound(self, owner: str, now_ms: int) -> bool:
        if self._count(owner) < self._most:  # the usual case, which reads no row
            return True
        in_store = self._in_store(owner)
        recounted_ms, counted = self._recounts.pop(owner, (-RECOUNT_MS, in_store))
        if in_store == counted and 0 <= now_ms - recounted_ms < RECOUNT_MS:
            self._recounts[owner] = recounted_ms, counted
            return False
        self._forget_requested(owner, now_ms)
        if self._count(owner) < self._most:
            return True
        self._recounts[owner] = now_ms, in_store
        return False

    def _count(self, owner: str) -> int:
        """Return an upper bound of the owner's unfinished builds."""
        return self._in_store(owner) + len(self._accepted.get(owner, ()))

    def _in_store(self, owner: str) -> int:
        return unfinished_of(owner, self._environments.count)

    def _forget_requested(self, owner: str, now_ms: int) -> None:
        """Keep only dependencies that are not in the store as unfinished, and that will need a build."""
        kept = {
            id: submission_id
            for id, submission_id in self._accepted[owner].items()
            if self._is_unfinished(submission_id) and self._will_be_built(id, now_ms)
        }
        if kept:
            self._accepted[owner] = kept
        else:
            del self._accepted[owner]

    def _will_be_built(self, id: str, now_ms: int) -> bool:
        state = self._state(id)
        return state is None or starts_build(state, state.limits, now_ms)

    def _state(self, id: str) -> EnvironmentState | None:
        raw = self._environments.get(id)
        return EnvironmentState.read(raw) if raw else None
