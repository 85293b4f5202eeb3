"""Readiness for `GET /ready`: a submission can run now, or something is missing."""

import asyncio
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ingest.access import Access
from ingest.submissions import Submissions
from topics.catalogue import Catalogue
from topics.dependencies import dependencies_id
from topics.dependencies.state import EnvironmentState
from topics.disk import DiskWatch
from topics.kafka.clients import connection
from topics.request.model import BASE
from topics.settings import KafkaSettings
from topics.submissions.acceptance import SYSTEM
from topics.views.view import View

_WORKERS_AGE_S = 1.0
"""Time for which the number of workers is reused, which bounds the requests to the broker."""
_ANSWER_S = 3.0
"""Timeout of a request to the broker."""


class Readiness:
    """Readiness of the system, and the number of its workers, as the broker last returned it."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        submissions: Submissions,
        environments: View,
        access: Access,
        disk: DiskWatch,
    ) -> None:
        """Look up the base environment in `environments`, a view of `dependencies.store`."""
        self._submissions, self._environments, self._access = submissions, environments, access
        self._disk = disk
        self._connection = connection(kafka)
        self._admin: AdminClient | None = None
        self._group = kafka.topic_prefix + catalogue.submissions.work_group
        self._counting = asyncio.Lock()
        self._counted_at = -_WORKERS_AGE_S
        self._workers = 0

    async def missing(self) -> str | None:
        """Return the first thing that is missing before a submission can run, or None if nothing is."""
        if shortage := self._disk.shortage():
            return shortage
        if not self._submissions.projection.caught_up:
            return "the store: it is still being read"
        if not self._access.ready:
            return "the API keys: they are still being read"
        package_set = self._submissions.package_sets.in_force
        if package_set is None:
            return "a package set"
        raw = self._environments.get(dependencies_id(BASE, package_set.pin, SYSTEM))
        if raw is None or EnvironmentState.read(raw).status != "installed":
            return "the base environment: it is not built yet"
        if await self.workers() == 0:
            return "a worker"
        return None

    async def workers(self) -> int:
        """Return the number of workers that have partitions of the queue, at most a second old.

        Return 0 if the broker does not answer.
        """
        async with self._counting:
            if time.monotonic() - self._counted_at >= _WORKERS_AGE_S:
                self._workers = await asyncio.to_thread(self._count_workers)
                self._counted_at = time.monotonic()
        return self._workers

    def _count_workers(self) -> int:
        # Keep the client referenced: one that is garbage collected never completes its requests.
        admin = self._admin = self._admin or AdminClient(self._connection)
        try:
            # Check first that the broker answers: librdkafka 2.16 may abort the process if it describes a
            # group while the broker restarts ("eonce->refcnt > 0").
            admin.list_topics(timeout=_ANSWER_S)
            futures = admin.describe_consumer_groups([self._group], request_timeout=_ANSWER_S)
            members = futures[self._group].result().members
        except KafkaException:
            self._admin = None  # after a restart of the broker an old client may time out forever
            return 0
        return sum(bool(member.assignment.topic_partitions) for member in members)
