"""How often threads wake the event loop of a worker for one attempt, on a real broker."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from confluent_kafka import Message

from processors.queue.attempt import Attempt
from processors.queue.attempts import Attempts, WorkerIdentity
from tests.support.submissions import finished
from topics.catalogue import catalogue
from topics.fold import Enqueue, Recorded
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, encode
from topics.kafka.confluent import ConfluentClients, ConfluentConsumer
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS, Finished, HandedBack, Started
from topics.submissions.fold import apply
from topics.submissions.state import Work

ATTEMPTS = 40
DEADLINE_S = 60.0


class CountingConsumer(ConfluentConsumer):
    empty_polls = 0

    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        messages = await super().poll(max_records, timeout_s)
        self.empty_polls += not messages
        return messages


class CountingClients(ConfluentClients):
    def consumer(self, group: str, topic: str, options: Mapping[str, object] = {}) -> ConfluentConsumer:
        self.queue = CountingConsumer(self._settings, group, topic, options)
        return self.queue


class NoOp:
    """An executor that does nothing, and counts."""

    def __init__(self) -> None:
        self.done: asyncio.Queue[str] = asyncio.Queue()

    def started(self, work: Work) -> Started:
        return Started(attempt=work.attempt, worker="w")

    def handed_back(self, work: Work, reason: str, *, host_fault: bool) -> HandedBack:
        return HandedBack(attempt=work.attempt, worker="w", reason=reason, host_fault=host_fault)

    def unpublishable(self, work: Work, reason: str) -> Finished:
        raise AssertionError(reason)

    def is_cancelled(self, work: Work) -> bool:
        return False

    async def execute(self, attempt: Attempt[Work]) -> None:
        await attempt.wait_until_allowed()
        async with attempt.slot():
            attempt.complete(finished())
        assert attempt.end
        attempt.end.add_done_callback(lambda _: self.done.put_nowait(attempt.work.id))


@pytest.mark.parametrize(
    ("attempt", "at_most"),
    [
        pytest.param(1, 3, id="first delivery: record, acknowledgement of the end, a commit that is shared"),
        pytest.param(2, 5, id="secured: also the acknowledgements of Started and of the lease"),
    ],
)
def test_an_attempt_needs_few_crossings(kafka: str, topic_prefix: str, attempt: int, at_most: int) -> None:

    async def test() -> None:
        settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
        topics = catalogue(settings)
        await asyncio.to_thread(ensure_topics, settings, topics.topics())
        producer, clients, executor = EventProducer(settings), CountingClients(settings), NoOp()
        identity = WorkerIdentity(name="w", source="worker/w", slots=2, lease_renewal_s=5.0, grace_s=1.0)
        attempts = Attempts(
            executor,
            Work,
            FACTS,
            identity,
            clients=clients,
            catalogue=topics,
            family=topics.submissions,
            queue_partitions=topics.submissions.queue.partitions(settings.profile),
            producer=producer,
        )
        running = asyncio.create_task(attempts.run())
        put(producer, topics.submissions.queue.name, "first", attempt)
        assert await executor.done.get() == "first"  # after rebalance, lease and commit
        loop: Any = asyncio.get_running_loop()
        crossings, wake = 0, loop.call_soon_threadsafe

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal crossings
            crossings += 1
            return wake(*arguments, **options)

        loop.call_soon_threadsafe = counted
        empty_before = clients.queue.empty_polls
        for number in range(ATTEMPTS):
            put(producer, topics.submissions.queue.name, str(number), attempt)
            assert await executor.done.get() == str(number)
        crossings -= clients.queue.empty_polls - empty_before
        # One in four may take one more: free slots that happened to be published.
        assert 0 < crossings <= (at_most + 0.25) * ATTEMPTS, f"{crossings / ATTEMPTS:.2f} for an attempt"
        attempts.stop()
        assert await running
        await asyncio.to_thread(producer.close)

    asyncio.run(asyncio.wait_for(test(), DEADLINE_S))


def put(producer: EventProducer, queue: str, id: str, attempt: int) -> None:
    [effect] = apply(
        None,
        Recorded(id, make_requested(*parse_request(b'{"run": "true"}', MiB), "pin", source="http"), 0),
    ).effects
    assert isinstance(effect, Enqueue)
    work = effect.work.replace(attempt=attempt)
    producer.produce(Record(queue, id.encode(), encode(work), []), partition=0)
