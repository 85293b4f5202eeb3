"""Whether a submission can run now, for `GET /ready`."""

import asyncio
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ingest.access import Access
from ingest.submissions import Submissions
from topics.catalogue import Catalogue
from topics.dependencies import dependencies_id
from topics.dependencies.state import EnvironmentState
from topics.kafka.clients import connection
from topics.request.model import BASE
from topics.settings import KafkaSettings
from topics.submissions.acceptance import SYSTEM
from topics.views.view import View

_ASK_AGAIN_S = 1.0
_ANSWER_S = 3.0


class Readiness:
    """Asks the broker who works, at most once a second."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        submissions: Submissions,
        environments: View,
        access: Access,
    ) -> None:
        """`environments` is a view of `dependencies.store`."""
        self._submissions, self._environments, self._access = submissions, environments, access
        self._connection = connection(kafka)
        self._admin: AdminClient | None = None
        self._group = kafka.topic_prefix + catalogue.submissions.work_group
        self._asking = asyncio.Lock()
        self._asked_at = -_ASK_AGAIN_S
        self._workers = 0

    async def missing(self) -> str | None:
        """What is missing before a submission can run; None when nothing is."""
        if not self._submissions.view.caught_up:
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
        """How many may take submissions, as of a second ago; 0 where the broker does not say."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= _ASK_AGAIN_S:
                self._workers = await asyncio.to_thread(self._ask)
                self._asked_at = time.monotonic()
        return self._workers

    def _ask(self) -> int:
        # A client that nobody refers to any more never answers what it was asked.
        admin = self._admin = self._admin or AdminClient(self._connection)
        try:
            # Whether anybody is there: librdkafka 2.16 may abort the process where it describes a group
            # while the broker comes back ("eonce->refcnt > 0").
            admin.list_topics(timeout=_ANSWER_S)
            futures = admin.describe_consumer_groups([self._group], request_timeout=_ANSWER_S)
            members = futures[self._group].result().members
        except KafkaException:
            self._admin = None  # after a broker's restart a client may time out for ever
            return 0
        return sum(bool(member.assignment.topic_partitions) for member in members)
