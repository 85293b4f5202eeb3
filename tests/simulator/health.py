"""Mirrors `processors/health_checker/app.py`, and of Faust what matters, around its monitor and watchdog.

Faust reads the changelog of partitions that come, keeps those that stay, and commits once a second what was
handled, after its producer was flushed.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import Message

from processors.health_checker.lease_monitor import Held, Late, TableChange
from processors.health_checker.records import read
from processors.health_checker.settings import HealthCheckerSettings
from processors.health_checker.watchdog import PartitionWatchdog
from tests.simulator.family import Family
from tests.simulator.groups import Consumer
from tests.simulator.network import BrokerError
from tests.simulator.scheduler import Future, Process, Wait, all_of
from topics.kafka.codec import DecodeError, encode
from topics.leases import Tick

if TYPE_CHECKING:
    from tests.simulator.world import World

SETTINGS = HealthCheckerSettings()
COMMIT_S = 1.0
HELD, GONE = b"held", b"gone"
"""Values of the table's changelog."""


class _OwnedPartition:
    """`_OwnedPartition`: a partition of leases, from the assignment on."""

    def __init__(self, world: "World", held: Iterable[Held], next_offset: int) -> None:
        self.monitor = world.protocol.monitor(
            held,
            mark=f"{world.random.getrandbits(64):x}",
            timeout_s=SETTINGS.lease_timeout_s,
            tick_period_s=SETTINGS.tick_period_s,
        )
        patience_ticks = SETTINGS.stuck_timeout_s / SETTINGS.tick_period_s
        self.watchdog = PartitionWatchdog(next_offset, patience_ticks)
        self.handled = next_offset
        self.committed = 0
        self.tick: Future | None = None


class HealthChecker:
    """`HealthChecker`: the app and what it knows."""

    def __init__(self, world: "World", process: Process, family: Family) -> None:
        self._world, self._process, self._family = world, process, family
        self._owned: dict[int, _OwnedPartition] = {}
        self._table: dict[int, set[Held]] = defaultdict(set)
        self._flushing: list[Future] = []
        self._generation = 0
        self._stalled = self._drop = False
        self._consumer = Consumer(
            world.scheduler,
            world.network,
            process,
            family.check_group,
            family.leases,
            on_assign=self._recover,
            on_revoke=self._forget,
            in_background=True,
        )

    def run(self) -> Wait:
        """The agent: one record after the other."""
        scheduler = self._world.scheduler
        scheduler.spawn(self._process, self._beat())
        scheduler.spawn(self._process, self._commit())
        while not self._process.stop.done:
            messages = yield from self._consumer.poll(20)
            generation = self._generation
            if messages and self._drop:
                self._drop = False
                messages.pop(0)
            for message in messages:
                owned = self._owned.get(message.partition() or 0)
                if generation != self._generation:  # Faust empties its queues
                    break
                if owned is not None:  # else its next owner reads it
                    yield from self._handle(owned, message)
            if not messages:
                yield self._world.subscribe(self._family.leases)
        yield from self._consumer.close()
        scheduler.end(self._process)

    # -- assignment ---------------------------------------------------------------------------------

    def _forget(self, partitions: list[int]) -> None:
        """`_forget_partitions_that_left`."""
        for number in partitions:
            self._owned.pop(number, None)
            self._table.pop(number, None)

    def _recover(self, new: list[int]) -> Wait:
        """Faust's recovery of the table, then `_take_over`: every monitor starts anew."""
        for number in new:
            end = yield self._consumer.call(partial(getattr, self._family.changelog[number], "end"))
            self._table[number] = _replayed(self._family.changelog[number].read(0, end).messages)
        owned = sorted({*self._owned, *new})
        offsets = yield self._consumer.call(lambda: self._family.check_group.committed(owned))
        for number in owned:
            self._owned[number] = _OwnedPartition(self._world, sorted(self._table[number]), offsets[number])
        self._consumer.seek({n: offsets[n] for n in owned if n not in new})  # as Faust does with all of them
        self._generation += 1
        # Around a rebalance Faust may stop to commit, or drop a record that was in flight.
        self._stalled = self._world.random.random() < self._world.plan.faust_fault_chance
        self._drop = self._world.random.random() < self._world.plan.faust_fault_chance
        return {n: offsets[n] for n in new}

    # -- the agent ----------------------------------------------------------------------------------

    def _handle(self, owned: _OwnedPartition, message: Message) -> Wait:
        """`_handle`."""
        offset, time_s = message.offset() or 0, message.timestamp()[1] / 1000
        if owned.watchdog.record_came(offset):
            yield from self._leave("records are missing")
        key = message.key()
        assert key is None or isinstance(key, bytes)
        try:
            record = read(key, value_of(message))
        except DecodeError:  # `_dead_letter`
            owned.handled = offset + 1
            return
        if isinstance(record, Tick):
            yield from self._check_leases(owned, record, message, time_s)
        else:
            self._apply(owned.monitor.observe(record, time_s), message.partition() or 0)
        owned.handled = offset + 1

    def _check_leases(self, owned: _OwnedPartition, tick: Tick, message: Message, time_s: float) -> Wait:
        """`_check_leases`: LeaseExpired first, acknowledged; then the entries go, if they are still ours."""
        number = message.partition() or 0
        outcome = owned.monitor.tick(tick, time_s)
        if outcome is None:
            return
        if outcome.late:
            yield from all_of([self._publish_expiry(late, message) for late in outcome.late])
            if self._owned.get(number) is owned:
                for late in outcome.late:
                    self._apply(owned.monitor.remove(late), number)
        owned.watchdog.tick_handled(message.offset() or 0)

    def _publish_expiry(self, late: Late, tick: Message) -> Future:
        """`_publish_expiry`."""
        self._world.invariants.declared_dead(self._family, late, tick)
        expired = self._family.lease_expired.model_validate(
            {"attempt": late.attempt, "checker": self._process.name}
        )
        return self._family.say(self._process, late.id, expired)

    def _apply(self, change: TableChange, number: int) -> None:
        """`_apply`: the table, and its changelog."""
        for held in change.removed:
            self._table[number].discard(held)
            self._log(held, GONE, number)
        for held in change.added:
            self._table[number].add(held)
            self._log(held, HELD, number)

    def _log(self, held: Held, value: bytes, number: int) -> None:
        key = "\n".join((held.id, str(held.attempt), held.worker)).encode()
        topic = self._family.changelog[number].topic
        self._flushing.append(self._world.network.produce(self._process, topic, key, value, [], number))

    # -- timers -------------------------------------------------------------------------------------

    def _commit(self) -> Wait:
        """Faust: flush the producer, then commit what was handled before."""
        while True:
            yield COMMIT_S
            handled = {number: owned.handled for number, owned in self._owned.items()}
            flushing, self._flushing = self._flushing, []
            yield from all_of(flushing)
            member = self._consumer.member
            still = {n: offset for n, offset in handled.items() if n in self._owned}
            if member is None or not still or self._stalled:
                continue
            try:
                yield self._consumer.call(partial(self._family.check_group.commit, member, still))
            except BrokerError:
                continue
            for number, offset in still.items():
                if number in self._owned:
                    self._owned[number].committed = offset

    def _beat(self) -> Wait:
        """`_beat`."""
        while True:
            yield SETTINGS.tick_period_s
            for number, owned in list(self._owned.items()):
                if owned.tick is None or owned.tick.done:
                    yield from self._tick(number, owned)

    def _tick(self, number: int, owned: _OwnedPartition) -> Wait:
        """`_tick`."""
        if owned.tick is not None:
            owned.watchdog.tick_acknowledged()
        if owned.watchdog.trouble(owned.committed):
            yield from self._leave("stuck")
        topic = self._family.store.aggregate.family.leases.name
        owned.tick = self._world.network.produce(
            self._process, topic, None, encode(Tick(mark=owned.monitor.mark)), [], number
        )

    def _leave(self, why: str) -> Wait:
        """`_leave`: end at once, to be started again."""
        self._world.crash(self._process, why)
        yield 0.0


def held_of(message: Message) -> Held:
    """The key of a record of the changelog."""
    key = message.key()
    assert isinstance(key, bytes)
    id, attempt, worker = key.decode().split("\n")
    return Held(id, int(attempt), worker)


def value_of(message: Message) -> bytes:
    """Its value, as bytes."""
    value = message.value()
    return value.encode() if isinstance(value, str) else value or b""


def _replayed(messages: list[Message]) -> set[Held]:
    table: set[Held] = set()
    for message in messages:
        (table.add if value_of(message) == HELD else table.discard)(held_of(message))
    return table
