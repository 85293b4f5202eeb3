"""WorkerHealthChecker and CacheBuilderHealthChecker: one Faust app, on the topics of one of two families.

consumes  `X.leases`: what workers say, and ticks; at each tick of its own it judges
keeps     a table of the leases that exist; their times are only in memory (`judgement`)
produces  `X.events`: LeaseExpired; `X.leases`: ticks, into each partition that it owns; `dead-letters`
"""

import asyncio
import logging
import os
import signal
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

import faust
from confluent_kafka import KafkaException
from confluent_kafka import Message as DeliveredMessage
from faust.types import TP, Message

from processors.health_checker.faust_app import faust_app
from processors.health_checker.judgement import Change, Held, Judge, Late
from processors.health_checker.progress import Progress
from processors.health_checker.records import read, tick_record
from processors.health_checker.settings import HealthCheckerSettings
from topics.catalogue import Catalogue, Family, catalogue
from topics.dependencies import facts as dependencies
from topics.kafka.clients import EventProducer
from topics.kafka.codec import DecodeError, Headers, Letter, Record, close_letter, encode_fact
from topics.kafka.reachability import OF_THIS_PROCESS
from topics.leases import Tick
from topics.model import Model
from topics.settings import KafkaSettings
from topics.submissions import facts as submissions

logger = logging.getLogger(__name__)

ASSIGNMENT_TIMEOUT_S = 30.0
"""For how long there may be no assignment, not even an empty one: three times what a rebalance takes."""


def run(
    kafka: KafkaSettings,
    settings: HealthCheckerSettings,
    of: Literal["submissions", "dependencies"],
    on_signal: Callable[[int], None] = lambda _: None,
) -> NoReturn:
    """Work until SIGTERM or SIGINT, in a process of its own; the topics must exist.

    `on_signal` is called at once with a signal that arrives.

    Logs to whatever the root logger does. Ends the process with a code other than 0 when it wants to be
    started again, as a supervisor always must: Faust may get stuck after a rebalance.

    Raises:
        SystemExit: always, at the end.
    """
    HealthChecker(kafka, settings, watched(of, catalogue(kafka))).run(on_signal)


class Watched(NamedTuple):
    """What distinguishes the two health checkers."""

    topics: Family
    lease_expired: type[submissions.LeaseExpired] | type[dependencies.LeaseExpired]
    facts: Mapping[str, type[Model]]


def watched(of: Literal["submissions", "dependencies"], topics: Catalogue) -> Watched:
    """What the health checker of `of` watches."""
    if of == "submissions":
        return Watched(topics.submissions, submissions.LeaseExpired, submissions.FACTS)
    return Watched(topics.dependencies, dependencies.LeaseExpired, dependencies.FACTS)


@dataclass(slots=True)
class _Partition:
    """A partition of `X.leases` that this process owns, from the assignment on."""

    judge: Judge
    progress: Progress
    tick: "Future[DeliveredMessage] | None" = None
    """The latest. The next one waits for it, so that they do not pile up while Kafka is away."""


class _Worker(faust.Worker):
    """Faust's worker, with a callback for signals."""

    on_signal: Callable[[int], None]

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        self.on_signal(signal)
        if OF_THIS_PROCESS.is_reachable:
            super()._schedule_shutdown(signal)
        else:  # Faust would wait for its last commit; what is not committed is read again at the next start
            logger.info("ends without a commit, since Kafka is not reachable")
            logging.shutdown()
            os._exit(os.EX_OK)


class HealthChecker:
    """The Faust app and what it knows."""

    def __init__(self, kafka: KafkaSettings, settings: HealthCheckerSettings, watched: Watched) -> None:
        self.name = f"{watched.topics.checker_group}/{uuid.uuid4().hex[:8]}"
        """Fresh at every start of a process."""
        self._watched = watched
        self._settings = settings
        self._leases = watched.topics.leases.name
        self._dead_letters = catalogue(kafka).dead_letters.name
        self._producer = EventProducer(kafka)
        self._owned: dict[int, _Partition] = {}
        self._assigned = False
        self._unassigned_s = 0.0

        partitions = watched.topics.leases.partitions(kafka.profile)
        self.app = faust_app(kafka, watched.topics.checker_group, partitions)
        # Held -> {"partition": number}
        self._table = self.app.Table(
            "leases",
            partitions=partitions,
            extra_topic_configs=dict(watched.topics.changelog.more),
            on_recover=self._on_recover,
        )
        raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw"}
        topic = self.app.topic(self._leases, key_type=bytes, value_type=bytes, **raw)
        self.app.agent(topic, name="leases")(self._watch)
        self.app.timer(settings.tick_period_s)(self._beat)

    def run(self, on_signal: Callable[[int], None]) -> NoReturn:
        """Work until SIGTERM or SIGINT, for which `on_signal` is called first.

        Raises:
            SystemExit: 0 after a signal, else after a fault: it wants to be started again.
        """
        # Each start and rebalance is a page of their log lines.
        for library in ("faust", "mode", faust_app.__module__):
            logging.getLogger(library).setLevel(logging.WARNING)
        # aiokafka logs an error for each request while Kafka is away, which our own producer logs once.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        worker = _Worker(self.app, quiet=True, override_logging=False, redirect_stdouts=False)
        worker.spinner, worker.on_signal = None, on_signal
        try:
            worker.execute_from_commandline()
        finally:
            logger.info("%s stops", self.name)
            self._producer.close()

    async def _on_recover(self) -> None:
        """Called after each rebalance, once the changelog has been read."""
        with self._leaving_on_error():  # Faust would not notice
            # Faust resumes partitions, then empties its queues: until it resumes the flow, nothing may come.
            self.app.consumer.stop_flow()
            await self._take_over()

    async def _take_over(self) -> None:
        """Start anew with what is owned now."""
        self._forget_partitions_that_left()
        held: dict[int, list[Held]] = defaultdict(list)
        for key, entry in self._table.data.items():
            held[entry["partition"]].append(Held(*key))
        next_offsets = await self._next_offsets()
        self._owned = {n: self._partition(held[n], offset) for n, offset in sorted(next_offsets.items())}
        self._assigned = True
        counts = ", ".join(f"{number} ({len(owned.judge)} held)" for number, owned in self._owned.items())
        logger.info("%s owns of %s: %s", self.name, self._leases, counts or "nothing")

    async def _next_offsets(self) -> dict[int, int]:
        """Of each partition that is assigned now: the first record that must come.

        The last commit of an earlier owner may still follow. Then this is too low, and the new start in vain.
        """
        consumer: Any = self.app.consumer  # Faust's types are narrower than its classes
        partitions = {tp for tp in consumer.assignment() if tp.topic == self._leases}
        if not partitions:
            return {}
        committed = await consumer.seek_to_committed()  # as Faust itself is about to do
        earliest = await consumer.earliest_offsets(*partitions)
        return {tp.partition: max(committed.get(tp) or 0, earliest[tp]) for tp in partitions}

    def _forget_partitions_that_left(self) -> None:
        """Faust's memory store keeps what was set while they were ours. This writes no changelog.

        Of the partitions in `active_tps` Faust does not read the changelog again, so theirs must stay, even
        where the assignment has moved on meanwhile.
        """
        tables: Any = self.app.tables
        recovered = {tp.partition for tp in tables.recovery.active_tps}
        for key, entry in list(self._table.data.items()):
            if entry["partition"] not in recovered:
                del self._table.data[key]

    def _partition(self, held: list[Held], next_offset: int) -> _Partition:
        settings = self._settings
        judge = Judge(
            held,
            mark=uuid.uuid4().hex,
            timeout_s=settings.lease_timeout_s,
            tick_period_s=settings.tick_period_s,
        )
        return _Partition(judge, Progress(next_offset, settings.stuck_timeout_s / settings.tick_period_s))

    async def _watch(self, stream: faust.StreamT[bytes]) -> None:
        """The agent: one record after the other."""
        async for event in stream.events():
            owned = self._owned.get(event.message.partition)
            if owned is None:  # it was in flight when the partition left us: its next owner reads it
                continue
            with self._leaving_on_error():  # Faust would count the record as done
                await self._handle(owned, event.message)

    async def _handle(self, owned: _Partition, message: Message) -> None:
        if missing := owned.progress.record_came(message.offset):
            self._leave(f"{message.topic}/{message.partition}: {missing}")
        try:
            record = read(message.key, message.value)
        except DecodeError as error:
            await self._bury(message, str(error))
            return
        if isinstance(record, Tick):
            await self._judge(owned, record, message)
        else:
            self._apply(owned.judge.observe(record, message.timestamp), message.partition)

    async def _judge(self, owned: _Partition, tick: Tick, message: Message) -> None:
        verdict = owned.judge.tick(tick, message.timestamp)
        if verdict is None:
            return
        if verdict.clocks_started:
            logger.info("%s starts the clocks of %s/%d", self.name, message.topic, message.partition)
        await asyncio.gather(*(self._declare_dead(late) for late in verdict.late))
        if self._owned.get(message.partition) is owned:  # not reassigned meanwhile
            for late in verdict.late:
                self._apply(owned.judge.remove(late), message.partition)
        owned.progress.tick_handled(message.offset)

    async def _declare_dead(self, late: Late) -> None:
        workers = ", ".join(late.workers)
        logger.warning("%s: lease expired of %s, attempt %d: %s", self.name, late.id, late.attempt, workers)
        expired = self._watched.lease_expired(attempt=late.attempt, checker=self.name)
        events, facts = self._watched.topics.events.name, self._watched.facts
        await self._producer.send(encode_fact(events, late.id, expired, facts, self.name))

    def _apply(self, change: Change, partition: int) -> None:
        for held in change.removed:
            self._table.pop(held, None)
        for held in change.added:
            self._table[held] = {"partition": partition}

    async def _bury(self, message: Message, reason: str) -> None:
        origin = f"{message.topic}/{message.partition}/{message.offset}"
        logger.warning("%s cannot read %s: %s", self.name, origin, reason)
        headers: Headers = [*(message.headers or ())]
        original = Record(message.topic, message.key, message.value, headers)
        letter = close_letter(self._dead_letters, Letter(origin, reason, original))
        try:
            await self._producer.send(letter)
        except KafkaException as error:  # it never can be: going on matters more
            logger.error("%s cannot keep %s as a dead letter: %s", self.name, origin, error)

    async def _beat(self) -> None:
        """The timer."""
        if self.app.rebalancing or not self._assigned:
            self._unassigned_s += self._settings.tick_period_s
            if self._unassigned_s > ASSIGNMENT_TIMEOUT_S:
                self._leave(f"no assignment for {ASSIGNMENT_TIMEOUT_S:g} s")
            return
        self._unassigned_s = 0.0
        for number, owned in self._owned.items():
            if owned.tick is None or owned.tick.done():
                self._tick(number, owned)

    def _tick(self, number: int, owned: _Partition) -> None:
        if owned.tick is not None:
            owned.tick.result()  # one that can never be delivered ends the process
            owned.progress.tick_acknowledged()
        committed = self.app.monitor.tp_committed_offsets.get(TP(self._leases, number), 0)
        if trouble := owned.progress.trouble(committed):
            self._leave(f"{self._leases}/{number} is stuck: {trouble}")
        record = tick_record(self._leases, owned.judge.mark, self.name)
        owned.tick = self._producer.produce(record, partition=number)

    @contextmanager
    def _leaving_on_error(self) -> Iterator[None]:
        """What was not handled is read again at the next start."""
        try:
            yield
        except Exception as error:
            logger.exception("%s failed", self.name)
            self._leave(repr(error))

    def _leave(self, reason: str) -> NoReturn:
        """End the process at once: Faust's own way out might be what is stuck."""
        logger.critical("%s ends, to be started again: %s", self.name, reason)
        logging.shutdown()
        os._exit(os.EX_TEMPFAIL)
