"""The topics, groups and facts of submissions, or of dependencies."""

from collections.abc import Mapping
from typing import Literal

from processors.store.build_store import build_store
from processors.store.partition import StoreDefinition
from processors.store.submission_store import submission_store
from tests.simulator.broker import Broker
from tests.simulator.groups import Group
from tests.simulator.network import Network
from tests.simulator.scheduler import Future, Process, Scheduler
from tests.simulator.transactions import Coordinator
from topics.catalogue import catalogue
from topics.dependencies.state import Build
from topics.fold import QueuedWork
from topics.kafka.codec import Headers, encode
from topics.leases import Lease
from topics.model import Model
from topics.settings import KafkaSettings
from topics.submissions.state import Work

CATALOGUE = catalogue(KafkaSettings())
SESSION_S = KafkaSettings.model_fields["session_timeout_ms"].default / 1000

GARBAGE = b"garbage"
"""Key of records that nobody can read."""

Subject = Literal["submissions", "dependencies"]


class Family:
    """Everything in which the two halves of the system differ, apart from the crafts."""

    def __init__(
        self,
        subject: Subject,
        scheduler: Scheduler,
        network: Network,
        broker: Broker,
        *,
        partitions: int,
        queue_partitions: int,
    ) -> None:
        self.subject = subject
        define = submission_store if subject == "submissions" else build_store
        self.store: StoreDefinition = define(CATALOGUE)
        self.facts: Mapping[str, type[Model]] = self.store.aggregate.facts
        self.lease_expired: type[Model] = self.store.aggregate.lease_expired
        self.work: type[QueuedWork] = Work if subject == "submissions" else Build
        topics = self.store.aggregate.family
        self.events = broker.create(topics.events.name, partitions)
        self.rows = broker.create(topics.store.name, partitions)
        self.queue = broker.create(topics.queue.name, queue_partitions)
        self.leases = broker.create(topics.leases.name, partitions)
        self.slots = broker.create(topics.slots.name, 1)[0]
        self.changelog = broker.create(f"{topics.leases.name}-changelog", partitions)
        self.store_group = Group(scheduler, topics.store_group, partitions, SESSION_S)
        self.work_group = Group(scheduler, topics.work_group, queue_partitions, SESSION_S)
        self.check_group = Group(scheduler, f"{subject}-checkers", partitions, SESSION_S)
        self.coordinator = Coordinator(scheduler, network, broker, self.store_group)
        self._network = network
        self._headers: dict[type[Model], Headers] = {
            model: [("ce_type", name.encode())] for name, model in self.facts.items()
        }

    def say(self, process: Process, id: str, fact: Model) -> Future:
        """Append a fact about `id` to the log."""
        headers = self._headers[type(fact)]
        return self._network.produce(
            process, self.store.aggregate.family.events.name, id.encode(), encode(fact), headers
        )

    def say_lease(
        self,
        process: Process,
        kind: Literal["taken", "renewed", "released"],
        id: str,
        attempt: int,
    ) -> Future:
        """Append what a worker, which is called as its process, says of an attempt."""
        lease = Lease(kind=kind, id=id, attempt=attempt, worker=process.name)
        return self._network.produce(
            process, self.store.aggregate.family.leases.name, id.encode(), encode(lease), []
        )
