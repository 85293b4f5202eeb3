"""Attempts: one process's share of the work on a queue, from the consumed record to its acknowledged end.

    consumed → Started published, lease taken → both acknowledged, offset committed → carried out
             → end acknowledged → lease released                                            (rule 4)

The first delivery of a first attempt needs neither lease nor commit as long as it is short. Its facts are
published together, since every batch of records costs all consumers of the topic:

    consumed → carried out → Started and end published and acknowledged → offset committed

The work that Worker and CacheBuilder do in between is their `Craft`.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from confluent_kafka import KafkaException, Message

from processors.queue.handing_back import HandingBack
from processors.queue.leases import LeaseKeeper
from processors.queue.popper import Popper
from topics.catalogue import Catalogue
from topics.fold import ProgressFact, QueuedWork
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.kafka.reachability import OF_THIS_PROCESS
from topics.model import Model
from topics.process import crash
from topics.settings import KafkaSettings
from topics.topic import Family

log = logging.getLogger(__name__)

WorkT = TypeVar("WorkT", bound=QueuedWork)

_PAUSE_S = 0.5
"""Half of the pause after a first host error; each further error in a row doubles the pause."""
_PAUSE_MAX_S = 30.0
FLUSH_S = 1.0
"""Time for unsent releases of leases when a process ends. A lease that is not released expires."""
_ACKNOWLEDGE_S, _UNREACHABLE_S = 3.0, 0.5
"""Time that a process that stops waits for acknowledgements, first of leases and commits, then of ends. The
second value applies while Kafka is not reachable."""
_FAULTS_IN_A_ROW = 5
"""Host errors in a row after which the process ends, so that its share of the queue goes to others."""
QUIET_S = 0.05
"""Time for which facts of a first attempt are buffered; clients see it in the queue meanwhile."""


def process_name(host: str, instance: str) -> str:
    """Return a name that is different at every start, so that a lease identifies a process (rule 4)."""
    return f"{host}-{instance}-{uuid.uuid4().hex[:12]}"


class Attempt(Generic[WorkT]):
    """One attempt that this process holds."""

    def __init__(self, work: WorkT, say: "Callable[..., Future[Message]]") -> None:
        """Hold `work`; `say` is `Attempts.say`, which publishes facts."""
        self.work = work
        self.waiting = False
        """True while it waits for other processes, without a slot, so that another record can be consumed."""
        self.begun = False
        """True once it has its slot; attempts without one are handed back at once when this process stops."""
        self.task: asyncio.Task[None] | None = None
        self.end: Future[Message] | None = None
        """Acknowledgement of its end, None until `conclude`."""
        self._say = say
        self._ours = asyncio.Event()
        self._unsaid: list[tuple[ProgressFact, float]] | None = None
        """Buffered facts with their times; None once each fact is published at once."""

    @property
    def ours(self) -> bool:
        """True if it may run: lease and commit are acknowledged, or Kafka redelivers it after a crash."""
        return self._ours.is_set()

    def is_ours(self) -> None:
        """Permit the attempt to run."""
        self._ours.set()

    async def until_ours(self) -> None:
        """Wait for `ours`. Work before this call is preparation, which has no effect outside this process."""
        await self._ours.wait()

    def be_quiet(self) -> None:
        """Buffer facts of progress until `speak` or the end."""
        self._unsaid = []

    def speak(self) -> None:
        """Publish the buffered facts, and from now on each fact at once."""
        if unsaid := self._take_unsaid():
            self._say(self.work.id, *unsaid)

    def forget_unsaid(self) -> None:
        """Discard the buffered facts, since their attempt has no end."""
        self._unsaid = None

    def say(self, fact: ProgressFact) -> None:
        """Publish a fact of progress, or buffer it."""
        if self._unsaid is None:
            self._say(self.work.id, fact)
        else:
            self._unsaid.append((fact, time.monotonic()))

    def conclude(self, fact: Model) -> None:
        """Publish the end with all buffered facts; only the first call has an effect."""
        if self.end is None:
            self.end = self._say(self.work.id, *self._take_unsaid(), fact)

    def _take_unsaid(self) -> list[ProgressFact]:
        unsaid, self._unsaid, now = self._unsaid or [], None, time.monotonic()
        return [fact.replace(ago_s=round(now - happened, 6)) for fact, happened in unsaid]


class Craft(Protocol[WorkT]):
    """Everything in which Worker and CacheBuilder differ: the work itself, and its facts."""

    def started(self, work: WorkT) -> ProgressFact:
        """Return the fact that this process started the attempt."""
        ...

    def carry_out(self, attempt: Attempt[WorkT]) -> Awaitable[None]:
        """Do the work and call `attempt.conclude`. May start before `ours`; an exception is a host error."""
        ...

    def handed_back(self, work: WorkT, reason: str, *, host_fault: bool) -> Model:
        """Return the fact that this process gives up the attempt, so that another process retries it."""
        ...

    def unrecordable(self, work: WorkT, reason: str) -> Model:
        """Return the end of work whose real end Kafka does not accept, such as one that is too large."""
        ...

    def unwanted(self, work: WorkT) -> bool:
        """Return whether the result of this attempt is not needed any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """Name, capacity and lease renewal of the process that runs attempts."""

    name: str
    """Name that is different at every start, see `process_name`."""
    source: str
    """CloudEvents source of the events that the process publishes."""
    slots: int
    max_waiting: int = 0
    """Attempts that may wait for other processes at the same time."""
    lease_renewal_s: float
    grace_s: float
    """Time for which work may continue after `stop`."""
    memory_bytes: int | None = None
    """The largest memory limit of a stage that this process can hold; None if it can hold any."""


class Attempts(Generic[WorkT]):
    """All attempts of one process: it consumes, leases, carries out and releases them."""

    def __init__(
        self,
        craft: Craft[WorkT],
        model: type[WorkT],
        facts: Mapping[str, type[Model]],
        process: WorkerIdentity,
        *,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        family: Family,
        producer: EventProducer,
    ) -> None:
        self._craft, self._facts, self._process = craft, facts, process
        self._events, self._queue, self._producer = family.events.name, family.queue.name, producer
        self._held: dict[tuple[str, int], Attempt[WorkT]] = {}
        self._all: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._died = False
        self._faults_in_a_row = 0
        self._paused_until = 0.0
        self._leases = LeaseKeeper(producer, family.leases.name, process.name, process.lease_renewal_s)
        self._handing_back = HandingBack(
            kafka,
            family,
            producer,
            process.name,
            self.room_may_have_changed,
            model=model,
            memory_bytes=process.memory_bytes,
        )
        self._popper = Popper(
            kafka,
            queue=family.queue.name,
            dead_letters=catalogue.dead_letters.name,
            group=family.work_group,
            model=model,
            owner=self,
            producer=producer,
            on_death=self._on_death,
            lease_after_s=process.lease_renewal_s,
            handing_back=self._handing_back,
        )

    def stop(self) -> None:
        """Ask `run` to finish what runs within the grace period, hand the rest back, and return."""
        self._stop.set()

    async def run(self) -> bool:
        """Work until stopped; return False if the process must be started again.

        That is so if the consumer failed, or after too many host errors in a row. A start checks the host
        again, and other processes take the work until it succeeds.
        """
        self._loop = asyncio.get_running_loop()
        renewing = asyncio.create_task(self._leases.keep())
        renewing.add_done_callback(_crash_on_exception)
        await self._handing_back.start()
        self._popper.start()
        log.info(
            "%s: takes work from %s, %d at a time", self._process.source, self._queue, self._process.slots
        )
        await self._stop.wait()
        stopped = await asyncio.to_thread(self._popper.stop, _patience_s())
        drained = await self._drain()
        if not (stopped and drained):
            log.error(
                "%s: Kafka did not acknowledge everything in time; %d attempts are left to other processes",
                self._process.source,
                len(self._held),
            )
        renewing.cancel()
        await self._handing_back.close()
        return stopped and drained and not self._died

    async def unless_stopped(self, starting: Coroutine[Any, Any, None]) -> bool:
        """Run what must be done before `run`; cancel it and return False if `stop` is called meanwhile."""
        start, stopped = asyncio.ensure_future(starting), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({start, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
            return not self._stop.is_set()
        finally:
            stopped.cancel()
            start.cancel()
            await asyncio.wait({start, stopped})

    def most_memory_bytes(self) -> int:
        """Return the largest memory limit of a stage that any known process can hold, this one included."""
        return self._handing_back.most_memory_bytes()

    def room_may_have_changed(self) -> None:
        """Notify the popper: an attempt started or stopped waiting, or another process has other slots."""
        self._popper.wake()

    def cancel(self, id: str, up_to_attempt: int) -> None:
        """Stop the held attempts of `id` up to a number; `Craft.unwanted` decides if they are handed back."""
        for (held, number), attempt in tuple(self._held.items()):
            if held == id and number <= up_to_attempt and attempt.task is not None:
                attempt.task.cancel()

    def say(self, id: str, *facts: Model) -> "Future[Message]":
        """Append facts about `id` to the log; return the acknowledgement of the last."""
        records = [encode_fact(self._events, id, fact, self._facts, self._process.source) for fact in facts]
        # One right after the other, so that they go to the broker together.
        return [self._producer.produce(record) for record in records][-1]

    # -- the popper's owner; called from its thread ---------------------------------------------------

    def room(self) -> int:
        """Return the free slots, if not too many attempts wait and none is exclusive.

        Return 0 during the pause after a host error.
        """
        if time.monotonic() < self._paused_until:
            return 0
        held = tuple(self._held.values())
        if any(attempt.work.alone for attempt in held):
            return 0
        waiting = sum(attempt.waiting for attempt in held)
        room = self._process.slots - (len(held) - waiting)
        return min(room, self._process.max_waiting - waiting) if waiting else room

    def begin(self, work: WorkT, *, first_delivery: bool) -> "Future[Message] | None":
        """Run the first delivery of a first attempt at once, and buffer its facts.

        Of any other attempt publish `Started`, and prepare it. It needs a lease before it runs, so that it is
        charged if it crashes this process (rule 5).
        """
        key, started = (work.id, work.attempt), self._craft.started(work)
        if key in self._held:
            return self.say(work.id, started)
        attempt = self._held[key] = Attempt(work, self.say)
        said = None
        if first_delivery and work.attempt == 1:
            attempt.is_ours()
            attempt.be_quiet()
            attempt.say(started)
        else:
            said = self.say(work.id, started)
        self._loop.call_soon_threadsafe(self._launch, attempt)
        return said

    def lease(self, work: WorkT) -> "Future[Message]":
        """Publish the buffered facts and take the lease."""
        self._loop.call_soon_threadsafe(self._speak, work.id, work.attempt)
        return self._leases.take(work.id, work.attempt)

    def deliver(self, work: WorkT) -> None:
        """Permit the leased and committed attempt to run."""
        self._loop.call_soon_threadsafe(self._delivered, work.id, work.attempt)

    def over(self, work: WorkT) -> bool:
        """Return whether the attempt was released."""
        return (work.id, work.attempt) not in self._held

    def _on_death(self) -> None:
        self._died = True
        self._loop.call_soon_threadsafe(self._stop.set)

    # -- one attempt ----------------------------------------------------------------------------------

    def _launch(self, attempt: Attempt[WorkT]) -> None:
        self._loop.call_later(QUIET_S, attempt.speak)
        attempt.task = asyncio.create_task(self._carry_out(attempt))
        see_through = asyncio.create_task(self._see_through(attempt, attempt.task))
        self._all.add(see_through)
        see_through.add_done_callback(self._all.discard)
        see_through.add_done_callback(_crash_on_exception)

    def _speak(self, id: str, number: int) -> None:
        """Publish buffered facts, since an expired lease is charged by what the log has of the attempt."""
        if attempt := self._held.get((id, number)):
            attempt.speak()

    def _delivered(self, id: str, number: int) -> None:
        if attempt := self._held.get((id, number)):
            attempt.is_ours()
        else:  # it ended before its lease was acknowledged
            self._leases.release(id, number)

    async def _carry_out(self, attempt: Attempt[WorkT]) -> None:
        """Carry an attempt out to its end, or to none if the work goes to another process without one."""
        work = attempt.work
        try:
            if not self._craft.unwanted(work):
                await self._craft.carry_out(attempt)
        except asyncio.CancelledError:
            if attempt.ours and not self._craft.unwanted(work):
                attempt.conclude(self._craft.handed_back(work, "its worker was stopped", host_fault=False))
        except Exception as error:  # of any kind: no lease is released without an end
            log.exception("%s attempt %d: host error", work.id, work.attempt)
            reason = f"its worker's host is at fault: {error}"
            attempt.conclude(self._craft.handed_back(work, reason, host_fault=True))
            self._host_was_at_fault()
        else:
            self._faults_in_a_row = 0

    def _host_was_at_fault(self) -> None:
        """Pause after a host error, twice as long each time; after too many, end the process."""
        self._faults_in_a_row += 1
        self._paused_until = time.monotonic() + min(_PAUSE_MAX_S, _PAUSE_S * 2**self._faults_in_a_row)
        if self._faults_in_a_row >= _FAULTS_IN_A_ROW:
            log.error("%d host errors in a row: the process ends, to be started again", self._faults_in_a_row)
            self._died = True
            self._stop.set()

    async def _see_through(self, attempt: Attempt[WorkT], task: "asyncio.Task[None]") -> None:
        """Release the attempt once its end is acknowledged, never before; this task is not cancelled."""
        await asyncio.wait([task])
        attempt.forget_unsaid()  # those of an attempt without an end, which is not needed any more
        if attempt.ours and attempt.end is None and not self._craft.unwanted(attempt.work):
            # The lease expires, or Kafka redelivers the record, and another process retries.
            crash(f"{attempt.work.id} attempt {attempt.work.attempt} came to no end")
        if attempt.end is not None and (error := await _failure(attempt.end)):
            await self._conclude_otherwise(attempt.work, error)
        self._leases.release(attempt.work.id, attempt.work.attempt)
        del self._held[attempt.work.id, attempt.work.attempt]
        self._popper.wake()

    async def _conclude_otherwise(self, work: WorkT, error: KafkaException) -> None:
        log.error("%s attempt %d: its end cannot be published: %s", work.id, work.attempt, error)
        instead = self._craft.unrecordable(work, f"the result could not be recorded: {error}")
        if error_again := await _failure(self.say(work.id, instead)):
            crash(f"{work.id} attempt {work.attempt} cannot be given an end: {error_again}")

    # -- stopping -------------------------------------------------------------------------------------

    async def _drain(self) -> bool:
        """Let running attempts finish within the grace period; hand the others back at once.

        Return False if the broker does not acknowledge that in time. Then other processes receive the work,
        since its offset was not committed, or its lease expires.
        """
        tasks = [attempt.task for attempt in self._held.values() if attempt.task]
        for attempt in tuple(self._held.values()):
            if attempt.task and not attempt.begun:
                attempt.task.cancel()
        if tasks:
            # Without Kafka no result of an attempt that finishes now could be published.
            grace_s = self._process.grace_s if OF_THIS_PROCESS.is_reachable else 0.0
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
        if self._all:
            await asyncio.wait(tuple(self._all), timeout=_patience_s())
        return not self._all


def _patience_s() -> float:
    return _ACKNOWLEDGE_S if OF_THIS_PROCESS.is_reachable else _UNREACHABLE_S


def _crash_on_exception(task: "asyncio.Task[None]") -> None:
    """Crash if a task failed: a process that renews leases without working would keep them for ever."""
    if not task.cancelled() and (error := task.exception()):
        crash(f"a task that attempts depend on failed: {error!r}")


async def _failure(acknowledgement: "Future[Message]") -> KafkaException | None:
    """Return why the broker will not acknowledge a record; None once it has acknowledged it."""
    try:
        await asyncio.wrap_future(acknowledgement)
    except KafkaException as error:
        return error
    return None
