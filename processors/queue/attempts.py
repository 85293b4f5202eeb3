"""Attempts: one process's share of the work on a queue, from the consumed record to its acknowledged end.

    consumed → Started published, lease taken → both acknowledged, offset committed → executed
             → end acknowledged → lease released                                            (rule 4)

The first delivery of a first attempt needs neither lease nor commit as long as it is short. Its facts are
published together, since every batch of records costs all consumers of the topic:

    consumed → executed → Started and end published and acknowledged → offset committed

All state is on the event loop. The work that Worker and CacheBuilder do in between is their `JobExecutor`.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from confluent_kafka import Message

from processors.queue.acknowledgements import acknowledged, failure
from processors.queue.attempt import Attempt, JobExecutor
from processors.queue.consumer import CLIENT_OPTIONS, QueueConsumer
from processors.queue.leases import LeaseKeeper
from processors.queue.offsets import Delivery
from processors.queue.redistribution import QueueRedistribution
from processors.queue.slots import Slots
from topics.catalogue import Catalogue
from topics.fold import QueuedWork
from topics.kafka.fact_publisher import FactPublisher
from topics.kafka.ports import Clients, Producer
from topics.kafka.reachability import OF_THIS_PROCESS
from topics.leases import PreparedCounts
from topics.model import Model
from topics.process import crash
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


def process_name(host: str, instance: str) -> str:
    """Return a name that is different at every start, so that a lease identifies a process (rule 4)."""
    return f"{host}-{instance}-{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """Name, capacity and lease renewal of the process that runs attempts."""

    name: str
    """Name that is different at every start, see `process_name`."""
    source: str
    """CloudEvents source of the events that the process publishes."""
    slots: int
    backlog: int = 0
    """Attempts beyond `slots` that are started if no other process has a free slot for them. They take turns
    for slots of another kind, which the executor has, so that they can prepare meanwhile."""
    max_waiting: int = 0
    """Attempts that may wait for other processes at the same time."""
    lease_renewal_s: float
    grace_s: float
    """Time for which work may continue after `stop`."""
    memory_bytes: int | None = None
    """The largest memory limit of a stage that this process can hold; None if it can hold any."""
    shortage: Callable[[], str | None] = lambda: None
    """Function that returns why the host can begin no more work now, None if it can."""
    prepared: Callable[[], PreparedCounts | None] = lambda: None
    """Function that returns the use of prepared sandboxes; None if the process has none."""


class Attempts(Generic[WorkT]):
    """All attempts of one process: it consumes, leases, executes and releases them."""

    def __init__(
        self,
        executor: JobExecutor[WorkT],
        model: type[WorkT],
        facts: Mapping[str, type[Model]],
        process: WorkerIdentity,
        *,
        clients: Clients,
        catalogue: Catalogue,
        family: Family,
        queue_partitions: int | None,
        producer: Producer,
    ) -> None:
        """Run work of type `model` with `executor`; `facts` are the types that it publishes.

        `queue_partitions` is the number of partitions of the queue of `family`; None if processes without
        partitions want to know the free slots as well.
        """
        self._executor, self._process, self._queue = executor, process, family.queue.name
        self._events = FactPublisher(producer, family.events.name, facts, process.source)
        self.slots = Slots(process.slots + process.backlog)
        self._held: dict[tuple[str, int], Attempt[WorkT]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._has_failed = False
        self._faults_in_a_row = 0
        self._paused_until_s = 0.0
        self._leases = LeaseKeeper(producer, family.leases.name, process.name, process.lease_renewal_s)
        self._redistribution = QueueRedistribution(
            clients,
            family,
            producer,
            process.name,
            self.slots_may_have_changed,
            all_partitions=queue_partitions,
            model=model,
            memory_bytes=process.memory_bytes,
            prepared=process.prepared,
        )
        self._consumer = QueueConsumer(
            clients.consumer(family.work_group, family.queue.name, CLIENT_OPTIONS),
            producer,
            self,
            model,
            queue=family.queue.name,
            dead_letters=catalogue.dead_letters.name,
            redistribution=self._redistribution,
        )

    def stop(self) -> None:
        """Ask `run` to finish what runs within the grace period, hand the rest back, and return."""
        self._stop.set()

    async def run(self) -> bool:
        """Work until stopped; return False if the process must be started again.

        That is so if the consumer failed, or after too many host errors in a row. A start checks the host
        again, and other processes take the work until it succeeds.
        """
        renewing = asyncio.create_task(self._leases.keep())
        renewing.add_done_callback(_crash_on_exception)
        await self._redistribution.start()
        consuming = asyncio.create_task(self._consume())
        log.info(
            "%s: takes work from %s, %d at a time", self._process.source, self._queue, self._process.slots
        )
        await self._stop.wait()
        self._consumer.stop()
        await asyncio.wait([consuming], timeout=_patience_s())
        drained = await self._drain()
        if not (consuming.done() and drained):
            log.error(
                "%s: Kafka did not acknowledge everything in time; %d attempts are left to other processes",
                self._process.source,
                len(self._held),
            )
        renewing.cancel()
        await self._redistribution.close()
        return consuming.done() and drained and not self._has_failed

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
        return self._redistribution.most_memory_bytes()

    def cancel(self, id: str, up_to_attempt: int) -> None:
        """Cancel the held attempts of `id` up to a number; hand them back if their result is needed."""
        for (held, number), attempt in tuple(self._held.items()):
            if held == id and number <= up_to_attempt:
                attempt.cancel()

    async def _consume(self) -> None:
        try:
            await self._consumer.run()
        except Exception:
            log.exception("consumption of %s failed", self._queue)
            self._has_failed = True
            self._stop.set()

    # -- one attempt ---------------------------------------------------------------------------------

    async def _run(self, attempt: Attempt[WorkT], delivery: Delivery[WorkT]) -> None:
        """Run one attempt from its delivery to its acknowledged end (rule 4); this task is not cancelled."""
        if not (attempt.is_first_delivery and await self._is_over_soon(attempt)):
            await self._secure(delivery)
            attempt.allow_run()
        await asyncio.wait([attempt.execution])
        self._note_host_errors(attempt)
        await self._publish_end(attempt)
        self._release(attempt)
        self._consumer.settle(delivery)
        self.slots_may_have_changed()

    async def _is_over_soon(self, attempt: Attempt[WorkT]) -> bool:
        """Return whether a first delivery, which runs already, is over before it needs a lease."""
        await asyncio.wait([attempt.execution], timeout=self._process.lease_renewal_s)
        return attempt.execution.done()

    async def _secure(self, delivery: Delivery[WorkT]) -> None:
        """Lease an attempt, and commit its offset.

        The commit includes all records before it, so what runs of these is leased as well.
        """
        await self.lease([delivery, *self._consumer.offsets.unsettled_to(delivery)])
        await self._consumer.committer.commit()

    async def _execute(self, attempt: Attempt[WorkT]) -> None:
        """Do the work; it prepares at once, and runs when it may."""
        if not self._executor.is_cancelled(attempt.work):
            await self._executor.execute(attempt)

    async def _publish_end(self, attempt: Attempt[WorkT]) -> None:
        """Wait until the end is acknowledged; if the execution came to none, hand the attempt back."""
        work = attempt.work
        if attempt.end is None and self._executor.is_cancelled(work):
            attempt.discard()
            return
        if attempt.end is None:
            attempt.complete(self._handed_back(attempt))
        assert attempt.end
        if error := await failure(attempt.end):
            log.error("%s attempt %d: its end cannot be published: %s", work.id, work.attempt, error)
            instead = self._executor.unpublishable(work, f"the result could not be recorded: {error}")
            if error_again := await failure(self.publish(work.id, instead)):
                crash(f"{work.id} attempt {work.attempt} cannot be given an end: {error_again}")

    def _handed_back(self, attempt: Attempt[WorkT]) -> Model:
        work, execution = attempt.work, attempt.execution
        if execution.cancelled():
            return self._executor.handed_back(work, "its worker was stopped", host_fault=False)
        if (error := execution.exception()) is None:
            # The lease expires, or Kafka redelivers the record, and another process retries.
            crash(f"{work.id} attempt {work.attempt} came to no end")
        reason = f"its worker's host is at fault: {error}"
        return self._executor.handed_back(work, reason, host_fault=True)

    def _release(self, attempt: Attempt[WorkT]) -> None:
        """Release the attempt, whose end is acknowledged or not needed."""
        self._leases.release(attempt.work.id, attempt.work.attempt)
        del self._held[attempt.work.id, attempt.work.attempt]

    def _note_host_errors(self, attempt: Attempt[WorkT]) -> None:
        """Pause after a host error, twice as long each time; after too many, end the process."""
        if attempt.execution.cancelled():
            return
        if (error := attempt.execution.exception()) is None:
            self._faults_in_a_row = 0
            return
        log.error("%s attempt %d: host error", attempt.work.id, attempt.work.attempt, exc_info=error)
        self._faults_in_a_row += 1
        pause_s = min(_PAUSE_MAX_S, _PAUSE_S * 2**self._faults_in_a_row)
        self._paused_until_s = asyncio.get_running_loop().time() + pause_s
        if self._faults_in_a_row >= _FAULTS_IN_A_ROW:
            log.error("%d host errors in a row: the process ends, to be started again", self._faults_in_a_row)
            self._has_failed = True
            self._stop.set()

    # -- handler of the queue's consumer -------------------------------------------------------------

    def free_slots(self) -> int:
        """Return the free slots, if not too many attempts wait and none is exclusive.

        Return 0 during the pause after a host error, and while the host has a shortage.
        """
        return self._free_of(self._process.slots)

    def room(self) -> int:
        """Return how many attempts may be started if no other process has a free slot: see `backlog`."""
        return self._free_of(self._process.slots + self._process.backlog)

    def _free_of(self, slots: int) -> int:
        if asyncio.get_running_loop().time() < self._paused_until_s or self._process.shortage():
            return 0
        held = self._held.values()
        if any(attempt.work.alone for attempt in held):
            return 0
        waiting = sum(attempt.is_waiting for attempt in held)
        free = slots - (len(held) - waiting)
        return min(free, self._process.max_waiting - waiting) if waiting else free

    def start(self, delivery: Delivery[WorkT], *, is_first_delivery: bool) -> Awaitable[object] | None:
        """Start an attempt. Return None if it runs at once, else an awaitable for lease and commit.

        Only the first delivery of a first attempt runs at once. Any other needs a lease before it runs, so
        that it is charged if it crashes this process (rule 5).
        """
        assert delivery.work
        work = delivery.work
        if held := self._held.get((work.id, work.attempt)):  # Kafka redelivers what runs here
            held.started = self._publish_started(work)
            return self._spawn(self._secure(delivery))
        attempt = Attempt(work, self, is_first_delivery=is_first_delivery and work.attempt == 1)
        self._held[work.id, work.attempt] = attempt
        attempt.execution = asyncio.create_task(self._execute(attempt))
        self._spawn(self._run(attempt, delivery))
        if attempt.is_first_delivery:  # an optimisation: without it all deliveries would be like the others
            attempt.buffer()
            attempt.publish(self._executor.started(work))
            attempt.allow_run()
            return None
        attempt.started = self._publish_started(work)
        return attempt.wait_until_allowed()

    async def lease(self, deliveries: Collection[Delivery[WorkT]]) -> None:
        """Lease the attempts of these deliveries that are not over, and settle them when acknowledged.

        Buffered facts are published first: an expired lease is charged by what the log has of its attempt.
        """
        acknowledgements: list[asyncio.Future[Message]] = []
        with_work = [(each, each.work) for each in deliveries if each.work is not None]
        for _, work in with_work:
            if attempt := self._held.get((work.id, work.attempt)):
                attempt.flush()
                acknowledgements += [attempt.started] if attempt.started else []
                acknowledgements.append(self._leases.take(work.id, work.attempt))
        await acknowledged(acknowledgements)
        for delivery, _ in with_work:
            delivery.settled = True

    def _publish_started(self, work: WorkT) -> "asyncio.Future[Message]":
        return self.publish(work.id, self._executor.started(work))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(_crash_on_exception)
        return task

    # -- host of the attempts -------------------------------------------------------------------------

    def publish(self, id: str, *facts: Model) -> "asyncio.Future[Message]":
        """Append facts about `id` to the log; return the acknowledgement of the last."""
        return self._events.publish_together(id, facts)

    def publish_progress(self, id: str, *facts: Model) -> None:
        """Append facts about `id` to the log, which no caller waits for."""
        for fact in facts:
            self._events.produce(id, fact)

    def slots_may_have_changed(self) -> None:
        """Note that an attempt started or stopped waiting, or that another process has other slots."""
        self._consumer.slots_may_have_changed()

    # -- stopping -------------------------------------------------------------------------------------

    async def _drain(self) -> bool:
        """Let running attempts finish within the grace period; hand the others back at once.

        Return False if the broker does not acknowledge that in time. Then other processes receive the work,
        since its offset was not committed, or its lease expires.
        """
        executions = [attempt.execution for attempt in self._held.values()]
        for attempt in self._held.values():
            if not attempt.has_started:
                attempt.cancel()
        if executions:
            # Without Kafka no result of an attempt that finishes now could be published.
            grace_s = self._process.grace_s if OF_THIS_PROCESS.is_reachable else 0.0
            _, late = await asyncio.wait(executions, timeout=grace_s)
            for execution in late:
                execution.cancel()
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=_patience_s())
        return not self._running


def _patience_s() -> float:
    return _ACKNOWLEDGE_S if OF_THIS_PROCESS.is_reachable else _UNREACHABLE_S


def _crash_on_exception(task: "asyncio.Task[None]") -> None:
    """Crash if a task failed: a process that renews leases without working would keep them for ever."""
    if not task.cancelled() and (error := task.exception()):
        crash(f"a task that attempts depend on failed: {error!r}")
