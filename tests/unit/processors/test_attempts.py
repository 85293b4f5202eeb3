"""What one process takes on, and what it gives back when it is stopped. Nothing is popped here, nor sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Message

from processors.queue.attempts import QUIET_S, Attempt, Attempts, WorkerIdentity
from processors.queue.handing_back import HandingBack
from processors.queue.popper import Popper
from processors.queue.slots import Slots
from tests.support.submissions import finished
from topics.catalogue import catalogue
from topics.fold import Enqueue, Recorded
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, header
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
REQUEST = make_requested(*parse_request(b'{"run": "true"}', MiB), "pin", source="http")


@pytest.fixture(autouse=True)
def _without_consumers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no consumer: one that reaches no broker shortens the time that a stop may take."""

    async def start(_: HandingBack) -> None:
        pass

    monkeypatch.setattr(HandingBack, "start", start)
    monkeypatch.setattr(Popper, "start", lambda _: None)
    monkeypatch.setattr(Popper, "stop", lambda *_: True)


def work(id: str, *, alone: bool = False) -> Work:
    [effect] = apply(None, Recorded(id, REQUEST, 0)).effects
    assert isinstance(effect, Enqueue)
    assert isinstance(effect.work, Work)
    return effect.work.replace(alone=alone)


class Acknowledged(EventProducer):
    """What is handed to it is acknowledged at once, and stays here."""

    def __init__(self) -> None:
        self.said: list[Record] = []

    def produce(self, record: Record, *, partition: int = -1) -> "Future[Message]":
        self.said.append(record)
        future: Future[Message] = Future()
        future.set_result(Message(record.topic, 0, len(self.said), headers=record.headers))
        return future


class Sleeper:
    """A craft whose work takes as long as its id says, in seconds."""

    def __init__(self, slots: int) -> None:
        self._slots = Slots(slots)
        self.ran: list[str] = []
        self.begun = asyncio.Event()
        self.no_more = False

    def started(self, work: Work) -> Started:
        return Started(attempt=work.attempt, worker="w")

    def handed_back(self, work: Work, reason: str, *, host_fault: bool) -> HandedBack:
        return HandedBack(attempt=work.attempt, worker="w", reason=reason, host_fault=host_fault)

    def unrecordable(self, work: Work, reason: str) -> Finished:
        raise AssertionError

    def unwanted(self, work: Work) -> bool:
        return self.no_more

    async def carry_out(self, attempt: Attempt[Work]) -> None:
        await attempt.until_ours()
        async with self._slots.take(alone=attempt.work.alone):
            attempt.begun = True
            self.ran.append(attempt.work.id)
            self.begun.set()
            attempt.say(DependenciesInstalled(attempt=1, worker="w", dependencies=DEPENDENCIES))
            await asyncio.sleep(float(attempt.work.id))
        attempt.conclude(finished())


class AttemptsOfOneProcess:
    """One process, in a running event loop."""

    def __init__(self, slots: int, *, grace_s: float = 60.0) -> None:
        topics = catalogue(NOWHERE)
        self.producer, self.craft = Acknowledged(), Sleeper(slots)
        self.attempts = Attempts(
            self.craft,
            Work,
            FACTS,
            WorkerIdentity(
                name="w", source="worker/w", slots=slots, max_waiting=2, lease_renewal_s=1.0, grace_s=grace_s
            ),
            kafka=NOWHERE,
            catalogue=topics,
            family=topics.submissions,
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

    def give(self, *popped: Work) -> None:
        for each in popped:
            self.attempts.begin(each, first_delivery=False)
            self.attempts.lease(each)
            self.attempts.deliver(each)

    def said(self) -> list[tuple[str, str]]:
        """Ids with what was said of them."""
        return [(str(r.key, "utf-8"), header_of(r)) for r in self.producer.said if isinstance(r.key, bytes)]

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
            assert system.attempts.begin(work(str(takes_s)), first_delivery=True) is None
            assert system.facts() == []
            await asyncio.sleep(4 * QUIET_S)
            assert system.facts() == early
        assert system.facts() == everything

    asyncio.run(asyncio.wait_for(test(), 30))


def test_what_is_said_late_says_how_long_ago_it_was() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            system.attempts.begin(work("0.02"), first_delivery=True)
            await asyncio.sleep(QUIET_S / 5)
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
            system.attempts.begin(long, first_delivery=True)
            await system.craft.begun.wait()
            system.craft.no_more = True
            system.attempts.cancel(long.id, 1)
            await asyncio.sleep(2 * QUIET_S)
        assert system.facts() == []

    asyncio.run(asyncio.wait_for(test(), 30))


def test_of_what_is_leased_nothing_is_kept_back() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            long = work("0.3")
            system.attempts.begin(long, first_delivery=True)
            system.attempts.lease(long)
            await asyncio.sleep(QUIET_S / 5)
            assert system.facts() == BEGUN

    asyncio.run(asyncio.wait_for(test(), 30))


@pytest.mark.parametrize(("alone", "room"), [(False, 2), (True, 0)])
def test_beside_what_is_to_be_alone_nothing_is_taken(alone: bool, room: int) -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=3)
        async with system.running():
            system.give(work("0.2", alone=alone))
            assert system.attempts.room() == room

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_first_attempt_that_nobody_was_given_before_runs_at_once_and_without_a_lease() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=3)
        async with system.running():
            new, known, second = work("0.1"), work("0.2"), work("0.3").replace(attempt=2)
            assert system.attempts.begin(new, first_delivery=True) is None
            assert system.attempts.begin(known, first_delivery=False) is not None
            assert system.attempts.begin(second, first_delivery=True) is not None
            assert system.attempts.begin(new, first_delivery=True) is not None, "it is held already"
            assert not system.attempts.over(new)
            await asyncio.sleep(0.5)
            assert system.attempts.over(new)
            assert system.craft.ran == ["0.1"]
            assert [kind for id, kind in system.said() if id == "0.1"] == ["started", *BEGUN, "finished"]

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_lease_that_comes_after_the_end_is_released() -> None:
    async def test() -> None:
        system = AttemptsOfOneProcess(slots=1)
        async with system.running():
            late = work("0.1")
            system.attempts.begin(late, first_delivery=True)
            await asyncio.sleep(0.5)
            assert system.attempts.over(late)
            system.attempts.lease(late)
            system.attempts.deliver(late)
            await asyncio.sleep(0.1)
            said = [kind for id, kind in system.said() if id == "0.1"]
            assert said == [*BEGUN, "finished", "taken", "released"]

    asyncio.run(asyncio.wait_for(test(), 30))
