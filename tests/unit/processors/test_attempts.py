"""What one process takes on, and what it gives back when it is stopped. Without Kafka."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Message

from processors.queue import attempts
from processors.queue.attempt import Attempt
from processors.queue.attempts import Attempts, WorkerIdentity
from processors.queue.offsets import Delivery
from processors.queue.progress_buffer import PROGRESS_DELAY_S
from processors.queue.redistribution import QueueRedistribution
from tests.support.submissions import finished
from topics.catalogue import catalogue
from topics.fold import Enqueue, Recorded
from topics.kafka import ports
from topics.kafka.codec import Record, header
from topics.kafka.reachability import Reachability
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS, DependenciesInstalled, Finished, HandedBack, Started
from topics.submissions.fold import apply
from topics.submissions.stage import DependenciesStage
from topics.submissions.state import Work

NOWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:1")
DEPENDENCIES = DependenciesStage(id="d", cached=True)
"""No broker is there: work is given by `System.give`."""
BEGUN = ["started", "dependencies_installed"]
EVENTS = catalogue(NOWHERE).submissions.events.name
SLOTS = catalogue(NOWHERE).submissions.slots.name
REQUEST = make_requested(*parse_request(b'{"run": "true"}', MiB), "pin", source="http")


@pytest.fixture(autouse=True)
def broker_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of other tests may have lost their broker, and a worker without Kafka gives no grace period."""
    monkeypatch.setattr(attempts, "OF_THIS_PROCESS", Reachability())


def work(id: str, *, alone: bool = False) -> Work:
    [effect] = apply(None, Recorded(id, REQUEST, 0)).effects
    assert isinstance(effect, Enqueue)
    assert isinstance(effect.work, Work)
    return effect.work.replace(alone=alone)


class Acknowledged(ports.Producer):
    """What is handed to it is acknowledged at once, and stays here."""

    def __init__(self) -> None:
        self.said: list[Record] = []

    def publish(self, record: Record, *, partition: int = -1) -> "asyncio.Future[Message]":
        self.said.append(record)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        future.set_result(Message(record.topic, 0, len(self.said), headers=record.headers))
        return future

    def produce(self, record: Record, *, partition: int = -1) -> object:
        return self.publish(record, partition=partition)


class NoConsumer(ports.Consumer):
    """A member of a group that is assigned nothing; commits are noted."""

    def __init__(self) -> None:
        self.commits: list[dict[int, int]] = []

    async def subscribe(self, listener: ports.RebalanceListener) -> None:
        pass

    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        await asyncio.sleep(timeout_s)
        return []

    async def commit(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        self.commits.append(dict(offsets))
        return offsets

    async def committed(self, partitions: Collection[int]) -> Mapping[int, int]:
        return {}

    def seek(self, offsets: Mapping[int, int]) -> None:
        pass

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def high_watermark(self, partition: int) -> int:
        return 0

    @property
    def group_metadata(self) -> object | None:
        return None

    async def close(self) -> None:
        pass


class NoFollower(ports.Follower):
    """A reader of a topic that stays empty."""

    async def start(self) -> None:
        pass

    async def wait_caught_up(self) -> None:
        pass

    async def close(self) -> object:
        return True


class NoClients(ports.Clients):
    """Clients that reach no broker."""

    def __init__(self) -> None:
        self.queue = NoConsumer()

    def consumer(self, group: str, topic: str, options: Mapping[str, object] = {}) -> ports.Consumer:
        return self.queue

    def follow(
        self, topic: str, take: Callable[[list[Message]], None], *, from_beginning: bool
    ) -> ports.Follower:
        return NoFollower()


class Sleeper:
    """An executor whose work takes as long as its id says, in seconds."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.begun = asyncio.Event()
        self.no_more = False

    def started(self, work: Work) -> Started:
        return Started(attempt=work.attempt, worker="w")

    def handed_back(self, work: Work, reason: str, *, host_fault: bool) -> HandedBack:
        return HandedBack(attempt=work.attempt, worker="w", reason=reason, host_fault=host_fault)

    def unpublishable(self, work: Work, reason: str) -> Finished:
        raise AssertionError

    def is_cancelled(self, work: Work) -> bool:
        return self.no_more

    async def execute(self, attempt: Attempt[Work]) -> None:
        await attempt.wait_until_allowed()
        async with attempt.slot():
            self.ran.append(attempt.work.id)
            self.begun.set()
            attempt.publish(DependenciesInstalled(attempt=1, worker="w", dependencies=DEPENDENCIES))
            await asyncio.sleep(float(attempt.work.id))
        attempt.complete(finished())


class AttemptsOfOneProcess:
    """One process, in a running event loop."""

    def __init__(self, slots: int, *, backlog: int = 0, grace_s: float = 60.0) -> None:
        topics = catalogue(NOWHERE)
        self.producer, self.clients, self.craft = Acknowledged(), NoClients(), Sleeper()
        self._offset = 0
        self.attempts = Attempts(
            self.craft,
            Work,
            FACTS,
            WorkerIdentity(
                name="w",
                source="worker/w",
                slots=slots,
                backlog=backlog,
                max_waiting=2,
                lease_renewal_s=1.0,
                grace_s=grace_s,
            ),
            clients=self.clients,
            catalogue=topics,
            family=topics.submissions,
            queue_partitions=2,
            producer=self.producer,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """At work; what has begun is done when it has stopped."""
        run = asyncio.create_task(self.attempts.run())
        await asyncio.sleep(0)
        yield
        self.attempts.stop()
        await run

    def delivery(self, work: Work) -> Delivery[Work]:
        self._offset += 1
        return Delivery(0, self._offset, work)

    def give(self, *consumed: Work) -> None:
        """Work that may have been delivered before."""
        for each in consumed:
            assert self.start(each, is_first_delivery=False)

    def start(self, work: Work, *, is_first_delivery: bool) -> "asyncio.Future[object] | None":
        starting = self.attempts.start(self.delivery(work), is_first_delivery=is_first_delivery)
        return None if starting is None else asyncio.ensure_future(starting)

    def said(self) -> list[tuple[str, str]]:
        """Ids with what was said of them."""
        said = [record for record in self.producer.said if record.topic != SLOTS]
        return [(str(r.key, "utf-8"), header_of(r)) for r in said if isinstance(r.key, bytes)]

    def facts(self) -> list[str]:
        """What was said on the way and in the end."""
        return [header_of(r) for r in self.producer.said if r.topic == EVENTS]

    def ended(self) -> list[tuple[str, str]]:
        """Ids with what became of them."""
        return [(id, kind) for id, kind in self.said() if kind in {"finished", "handed_back"}]


def header_of(record: Record) -> str:
    message = Message(record.topic, 0, 0, headers=record.headers)
    return (header(message, "ce_type") or "").split(".")[2]


def test_what_has_not_begun_is_handed_back_at_once_when_the_process_stops() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            system.give(work("0.3"), work("0.1"), work("0.2"))
            await asyncio.sleep(0.1)
        assert system.craft.ran == ["0.3"]
        assert system.ended() == [("0.1", "handed_back"), ("0.2", "handed_back"), ("0.3", "finished")]

    asyncio.run(asyncio.wait_for(test(), 30))


@pytest.mark.parametrize(
    ("takes_s", "early", "everything"),
    [
        (0.0, [*BEGUN, "finished"], [*BEGUN, "finished"]),
        (30.0, BEGUN, [*BEGUN, "handed_back"]),
    ],
)
def test_of_a_first_attempt_nothing_is_said_at_first_and_everything_in_the_end(
    takes_s: float, early: list[str], everything: list[str]
) -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1, grace_s=0.0)
        async with system.running():
            assert system.start(work(str(takes_s)), is_first_delivery=True) is None
            assert system.facts() == []
            await asyncio.sleep(4 * PROGRESS_DELAY_S)
            assert system.facts() == early
        assert system.facts() == everything

    asyncio.run(asyncio.wait_for(test(), 30))


def test_what_is_said_late_says_how_long_ago_it_was() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            system.start(work("0.02"), is_first_delivery=True)
            await asyncio.sleep(PROGRESS_DELAY_S / 5)
        [started, installed, _] = [
            json.loads(r.value or b"") for r in system.producer.said if r.topic == EVENTS
        ]
        assert started["ago_s"] >= installed["ago_s"] >= 0.02

    asyncio.run(asyncio.wait_for(test(), 30))


def test_of_what_nobody_wants_any_more_nothing_is_said_afterwards() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            long = work("30.0")
            system.start(long, is_first_delivery=True)
            await system.craft.begun.wait()
            system.craft.no_more = True
            system.attempts.cancel(long.id, 1)
            await asyncio.sleep(2 * PROGRESS_DELAY_S)
        assert system.facts() == []

    asyncio.run(asyncio.wait_for(test(), 30))


def test_of_what_is_leased_nothing_is_kept_back() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            delivery = system.delivery(work("0.3"))
            assert system.attempts.start(delivery, is_first_delivery=True) is None
            await system.attempts.lease([delivery])
            assert delivery.settled
            await asyncio.sleep(PROGRESS_DELAY_S / 5)
            assert system.facts() == BEGUN

    asyncio.run(asyncio.wait_for(test(), 30))


@pytest.mark.parametrize(("alone", "room"), [(False, 2), (True, 0)])
def test_beside_what_is_to_be_alone_nothing_is_taken(alone: bool, room: int) -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=3)
        async with system.running():
            system.give(work("0.2", alone=alone))
            assert system.attempts.free_slots() == room

    asyncio.run(asyncio.wait_for(test(), 30))


@pytest.mark.parametrize(("alone", "free", "room"), [(False, -1, 4), (True, 0, 0)])
def test_a_process_with_a_backlog_has_room_beyond_its_slots(alone: bool, free: int, room: int) -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1, backlog=5)
        async with system.running():
            system.give(work("0.2"), work("0.3", alone=alone))
            assert (system.attempts.free_slots(), system.attempts.room()) == (free, room)
        assert len(system.craft.ran) == 2

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_process_with_all_partitions_neither_publishes_its_slots_nor_wakes_up_for_it() -> None:
    async def test() -> None:
        family, producer = catalogue(NOWHERE).submissions, Acknowledged()
        redistribution = QueueRedistribution(
            NoClients(), family, producer, "w", lambda: None, all_partitions=2
        )
        redistribution.update(frozenset({0, 1}), 1, idle=True)
        assert producer.said == []
        assert redistribution._timer is None
        redistribution.update(frozenset({0}), 1, idle=True)
        assert [record.topic for record in producer.said] == [SLOTS]
        assert redistribution._timer is not None
        await redistribution.close()

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_first_attempt_that_nobody_was_given_before_runs_at_once_and_without_a_lease() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=3)
        async with system.running():
            new, known, second = work("0.1"), work("0.2"), work("0.3").replace(attempt=2)
            assert system.start(new, is_first_delivery=True) is None
            assert system.start(known, is_first_delivery=False) is not None
            assert system.start(second, is_first_delivery=True) is not None
            await asyncio.sleep(0.5)
            assert system.craft.ran == ["0.1", "0.2", "0.3"]
            kinds = {id: [kind for other, kind in system.said() if other == id] for id in system.craft.ran}
            assert kinds["0.1"] == [*BEGUN, "finished"]
            assert kinds["0.2"][:2] == kinds["0.3"][:2] == ["started", "taken"]

    asyncio.run(asyncio.wait_for(test(), 30))


def test_what_is_delivered_again_while_it_runs_here_is_leased_and_does_not_run_twice() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=3)
        async with system.running():
            assert system.start(work("0.1"), is_first_delivery=True) is None
            again = system.start(work("0.1"), is_first_delivery=True)
            assert again is not None
            await again
            assert [kind for _, kind in system.said()].count("taken") == 1
        assert system.craft.ran == ["0.1"]
        assert [kind for _, kind in system.said()][-2:] == ["finished", "released"]

    asyncio.run(asyncio.wait_for(test(), 30))


def test_what_is_over_is_not_leased_any_more() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            late = system.delivery(work("0.1"))
            system.attempts.start(late, is_first_delivery=True)
            await asyncio.sleep(0.5)
            assert late.settled
            await system.attempts.lease([late])
            assert [kind for id, kind in system.said() if id == "0.1"] == [*BEGUN, "finished"]

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_lease_that_is_taken_while_the_end_is_on_its_way_is_released_after_it() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            delivery = system.delivery(work("0.0"))
            system.attempts.start(delivery, is_first_delivery=True)
            for _ in range(10):
                await asyncio.sleep(0)
            await system.attempts.lease([delivery])
        kinds = [kind for _, kind in system.said()]
        assert kinds in ([*BEGUN, "finished"], [*BEGUN, "finished", "taken", "released"])

    asyncio.run(asyncio.wait_for(test(), 30))
