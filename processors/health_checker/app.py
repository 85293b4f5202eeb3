"""WorkerHealthChecker and CacheBuilderHealthChecker: a Faust app each, on the topics of one aggregate.

consumes  `X.leases`: leases and ticks; at each of its own ticks it looks for expired leases
keeps     a table of current leases; their renewal times are only in memory (`lease_monitor`)
produces  `X.events`: LeaseExpired; `X.leases`: ticks, into each partition that it owns; `dead-letters`
"""

import asyncio
import logging
import os
import signal
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import faust
from confluent_kafka import KafkaException
from confluent_kafka import Message as DeliveredMessage
from faust.types import TP, Message

from processors.health_checker.faust_app import faust_app
from processors.health_checker.lease_monitor import Held, Late, LeaseMonitor, TableChange
from processors.health_checker.records import read, tick_record
from processors.health_checker.settings import HealthCheckerSettings
from processors.health_checker.watchdog import PartitionWatchdog
from topics.aggregate import Aggregate, dependencies, submissions
from topics.catalogue import catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.codec import DeadLetter, DecodeError, Headers, Record, encode_dead_letter
from topics.kafka.fact_publisher import FactPublisher
from topics.kafka.reachability import OF_THIS_PROCESS
from topics.leases import Tick
from topics.process import crash
from topics.settings import KafkaSettings

logger = logging.getLogger(__name__)

ASSIGNMENT_TIMEOUT_S = 30.0
"""Time without any assignment, even an empty one, after which the process ends. A rebalance takes a third."""


def run(
    kafka: KafkaSettings,
    settings: HealthCheckerSettings,
    aggregates: Sequence[str],
    on_signal: Callable[[int], None] = lambda _: None,
) -> NoReturn:
    """Run health checkers until SIGTERM or SIGINT, in a process of their own; the topics must exist.

    The root logger's handlers receive all log records. A supervisor must always start the process again if it
    ends with a code other than 0: Faust may get stuck after a rebalance.

    Args:
        kafka: the connection.
        settings: timeouts.
        aggregates: names of the aggregates whose leases are watched, `submissions` or `dependencies`; each
            has a health checker.
        on_signal: called with the number of a signal as soon as it arrives.

    Raises:
        SystemExit: always, at the end; with code 0 after a signal, else after a fault, which calls for a new
            start.
    """
    # Each start and rebalance fills a page with log lines of these libraries.
    for library in ("faust", "mode", faust_app.__module__):
        logging.getLogger(library).setLevel(logging.WARNING)
    # aiokafka logs an error for each request while Kafka is away; this process's producer logs that once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    make = {"submissions": submissions, "dependencies": dependencies}
    checkers = [HealthChecker(kafka, settings, make[name](catalogue(kafka))) for name in aggregates]
    first, *others = (checker.app for checker in checkers)
    worker = _Worker(first, *others, quiet=True, override_logging=False, redirect_stdouts=False)
    worker.spinner, worker.on_signal = None, on_signal
    try:
        worker.execute_from_commandline()
    finally:
        for checker in checkers:
            checker.close()


@dataclass(slots=True)
class _OwnedPartition:
    """Partition of `X.leases` that this process owns, from the assignment on."""

    monitor: LeaseMonitor
    watchdog: PartitionWatchdog
    tick: "Future[DeliveredMessage] | None" = None
    """Latest tick. The next one waits for its acknowledgement, so that ticks do not pile up while Kafka is
    away."""


class _Worker(faust.Worker):
    """Faust's worker, which calls `on_signal` before it shuts down."""

    on_signal: Callable[[int], None]

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.on_signal(signal)
        if OF_THIS_PROCESS.is_reachable:
            super()._schedule_shutdown(signal)
        else:  # Faust would wait for its last commit; uncommitted records are redelivered at the next start
            logger.info("ending without a commit, because Kafka is not reachable")
            logging.shutdown()
            os._exit(os.EX_OK)


class HealthChecker:
    """Faust app that watches the leases of one aggregate."""

    def __init__(self, kafka: KafkaSettings, settings: HealthCheckerSettings, aggregate: Aggregate) -> None:
        self.name = f"{aggregate.family.checker_group}/{uuid.uuid4().hex[:8]}"
        """Name in facts and log lines; new at every start of a process."""
        self._aggregate = aggregate
        self._settings = settings
        self._leases = aggregate.family.leases.name
        self._dead_letters = catalogue(kafka).dead_letters.name
        self._producer = EventProducer(kafka)
        self._events = FactPublisher(self._producer, aggregate.family.events.name, aggregate.facts, self.name)
        self._owned: dict[int, _OwnedPartition] = {}
        self._assigned = False
        self._unassigned_s = 0.0

        partitions = aggregate.family.leases.partitions(kafka.profile)
        self.app = faust_app(kafka, aggregate.family.checker_group, partitions)
        # Maps Held to {"partition": number}.
        self._table = self.app.Table(
            "leases",
            partitions=partitions,
            extra_topic_configs=dict(aggregate.family.changelog.more),
            on_recover=self._on_recover,
        )
        raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw"}
        topic = self.app.topic(self._leases, key_type=bytes, value_type=bytes, **raw)
        self.app.agent(topic, name="leases")(self._watch)
        self.app.timer(settings.tick_period_s)(self._beat)

    def close(self) -> None:
        """Flush the producer, at the end of the process."""
        logger.info("%s is shutting down", self.name)
        self._producer.close()

    async def _on_recover(self) -> None:
        """Take over the assigned partitions; Faust calls this after each rebalance and recovery."""
        with self._leaving_on_error():  # Faust would not notice
            # Faust resumes partitions, then empties its queues. Until it resumes the flow, no record may
            # arrive.
            self.app.consumer.stop_flow()
            await self._start_partitions()

    async def _start_partitions(self) -> None:
        """Create a monitor and a watchdog for each partition that is assigned now."""
        self._forget_partitions_that_left()
        held: dict[int, list[Held]] = defaultdict(list)
        for key, entry in self._table.data.items():
            held[entry["partition"]].append(Held(*key))
        next_offsets = await self._next_offsets()
        self._owned = {n: self._partition(held[n], offset) for n, offset in sorted(next_offsets.items())}
        self._assigned = True
        counts = ", ".join(f"{number} ({len(owned.monitor)} held)" for number, owned in self._owned.items())
        logger.info("%s owns partitions of %s: %s", self.name, self._leases, counts or "none")

    async def _next_offsets(self) -> dict[int, int]:
        """Return the offset of the next record of each assigned partition.

        The previous owner may still commit after this call. Then the offset is too low, the watchdog reports
        a gap, and the process starts once more.
        """
        consumer: Any = self.app.consumer  # Faust's types are narrower than its classes
        partitions = {tp for tp in consumer.assignment() if tp.topic == self._leases}
        if not partitions:
            return {}
        committed = await consumer.seek_to_committed()  # as Faust itself is about to do
        earliest = await consumer.earliest_offsets(*partitions)
        return {tp.partition: max(committed.get(tp) or 0, earliest[tp]) for tp in partitions}

    def _forget_partitions_that_left(self) -> None:
        """Delete the table's entries of revoked partitions, which Faust's memory store keeps.

        This writes no changelog. Faust does not read the changelog of partitions in `active_tps` again. Their
        entries must stay, even if the assignment has changed meanwhile.
        """
        tables: Any = self.app.tables
        recovered = {tp.partition for tp in tables.recovery.active_tps}
        for key, entry in list(self._table.data.items()):
            if entry["partition"] not in recovered:
                del self._table.data[key]

    def _partition(self, held: list[Held], next_offset: int) -> _OwnedPartition:
        settings = self._settings
        monitor = LeaseMonitor(
            held,
            mark=uuid.uuid4().hex,
            timeout_s=settings.lease_timeout_s,
            tick_period_s=settings.tick_period_s,
        )
        return _OwnedPartition(
            monitor, PartitionWatchdog(next_offset, settings.stuck_timeout_s / settings.tick_period_s)
        )

    async def _watch(self, stream: faust.StreamT[bytes]) -> None:
        """Handle one record after the other (the Faust agent)."""
        async for event in stream.events():
            owned = self._owned.get(event.message.partition)
            if owned is None:  # in flight when the partition was revoked: the next owner consumes it
                continue
            with self._leaving_on_error():  # Faust would acknowledge the record
                await self._handle(owned, event.message)

    async def _handle(self, owned: _OwnedPartition, message: Message) -> None:
        if missing := owned.watchdog.record_came(message.offset):
            self._leave(f"{message.topic}/{message.partition}: {missing}")
        try:
            record = read(message.key, message.value)
        except DecodeError as error:
            await self._dead_letter(message, str(error))
            return
        if isinstance(record, Tick):
            await self._check_leases(owned, record, message)
        else:
            self._apply(owned.monitor.observe(record, message.timestamp), message.partition)

    async def _check_leases(self, owned: _OwnedPartition, tick: Tick, message: Message) -> None:
        outcome = owned.monitor.tick(tick, message.timestamp)
        if outcome is None:
            return
        if outcome.clocks_started:
            logger.info(
                "%s restarts all lease timeouts of %s/%d", self.name, message.topic, message.partition
            )
        await asyncio.gather(*(self._publish_expiry(late) for late in outcome.late))
        if self._owned.get(message.partition) is owned:  # not reassigned meanwhile
            for late in outcome.late:
                self._apply(owned.monitor.remove(late), message.partition)
        owned.watchdog.tick_handled(message.offset)

    async def _publish_expiry(self, late: Late) -> None:
        workers = ", ".join(late.workers)
        logger.warning("%s: lease of %s expired, attempt %d: %s", self.name, late.id, late.attempt, workers)
        expired = self._aggregate.lease_expired(attempt=late.attempt, checker=self.name)
        await self._events.publish(late.id, expired)

    def _apply(self, change: TableChange, partition: int) -> None:
        for held in change.removed:
            self._table.pop(held, None)
        for held in change.added:
            self._table[held] = {"partition": partition}

    async def _dead_letter(self, message: Message, reason: str) -> None:
        origin = f"{message.topic}/{message.partition}/{message.offset}"
        logger.warning("%s cannot decode %s: %s", self.name, origin, reason)
        headers: Headers = [*(message.headers or ())]
        original = Record(message.topic, message.key, message.value, headers)
        letter = encode_dead_letter(self._dead_letters, DeadLetter(origin, reason, original))
        try:
            await self._producer.publish(letter)
        except KafkaException as error:  # a retry would fail, too; the other leases matter more
            logger.error("%s cannot publish %s as a dead letter: %s", self.name, origin, error)

    async def _beat(self) -> None:
        """Publish a tick to each owned partition; end the process without an assignment (the Faust timer)."""
        if self.app.rebalancing or not self._assigned:
            self._unassigned_s += self._settings.tick_period_s
            if self._unassigned_s > ASSIGNMENT_TIMEOUT_S:
                self._leave(f"no assignment for {ASSIGNMENT_TIMEOUT_S:g} s")
            return
        self._unassigned_s = 0.0
        for number, owned in self._owned.items():
            if owned.tick is None or owned.tick.done():
                self._tick(number, owned)

    def _tick(self, number: int, owned: _OwnedPartition) -> None:
        if owned.tick is not None:
            owned.tick.result()  # raises if the tick cannot be delivered, which ends the process
            owned.watchdog.tick_acknowledged()
        committed = self.app.monitor.tp_committed_offsets.get(TP(self._leases, number), 0)
        if trouble := owned.watchdog.trouble(committed):
            self._leave(f"{self._leases}/{number} is stuck: {trouble}")
        record = tick_record(self._leases, owned.monitor.mark, self.name)
        owned.tick = self._producer.produce(record, partition=number)

    @contextmanager
    def _leaving_on_error(self) -> Iterator[None]:
        """End the process on an exception; unhandled records are redelivered at the next start."""
        try:
            yield
        except Exception as error:
            logger.exception("%s failed", self.name)
            self._leave(repr(error))

    def _leave(self, reason: str) -> NoReturn:
        """End the process at once, because Faust's own shutdown may be stuck."""
        crash(f"{self.name}: {reason}", os.EX_TEMPFAIL)
