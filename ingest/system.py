"""Overview of the system for `GET /system`.

Only the number of workers is a request to the broker; everything else comes from the node's local tables.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from ingest.models import Builds, System
from ingest.submissions import Submissions
from ingest.wait_reasons import WaitReasons
from topics.dependencies.state import unfinished_in
from topics.submissions.state import Status
from topics.times import now, now_ms
from topics.views.view import View

_MAX_AGE_S = 1.0
"""Time for which an overview is reused, which bounds its cost whatever the rate of requests."""
_RUNNING: tuple[Status, ...] = ("started", "dependencies_installed", "compiled")


class Overview:
    """Overview that is computed on request, at most once per second."""

    def __init__(
        self,
        submissions: Submissions,
        waits: WaitReasons,
        environments: View,
        workers: Callable[[], Awaitable[int]],
    ) -> None:
        """Read `environments`, a view of `dependencies.store` that counts `unfinished_by_owner`."""
        self._submissions, self._recent = submissions.projection, submissions.recent
        self._waits, self._environments, self._workers = waits, environments, workers
        self._lock = asyncio.Lock()
        self._computed_at = -_MAX_AGE_S
        self._overview: System | None = None

    async def current(self) -> System | None:
        """Return the overview, at most a second old, or None until this node has caught up."""
        if not (self._submissions.caught_up and self._environments.caught_up):
            return None
        async with self._lock:
            if self._overview is None or time.monotonic() - self._computed_at >= _MAX_AGE_S:
                workers = await self._workers()
                self._overview = await asyncio.to_thread(self._compute, workers)
                self._computed_at = time.monotonic()
            return self._overview

    def _compute(self, workers: int) -> System:
        waiting = len(self._submissions.ids("queued"))
        ids = {status: self._submissions.ids(status) for status in _RUNNING}
        started = {status: len(found) for status, found in ids.items()}
        states = (self._submissions.get(id) for found in ids.values() for id in found)
        # No state is kept: there may be thousands, each with its request.
        workers_of = Counter(state.worker for state in states if state and not self._waits.of(state))
        running = workers_of.total()
        counts = self._environments.counts()
        waiting_builds, builds = unfinished_in("queued", counts), unfinished_in("started", counts)
        return System(
            time=now(),
            unfinished={"queued": waiting} | started,
            waiting=waiting,
            running=running,
            waiting_for_environment=sum(started.values()) - running,
            oldest_waiting_s=self._waits.oldest_s(),
            running_by_worker={name: count for name, count in workers_of.most_common() if name},
            workers=workers,
            leases=sum(started.values()) + builds,
            builds=Builds(waiting=waiting_builds, running=builds),
            last_minute=self._recent.last_minute(now_ms()),
        )
