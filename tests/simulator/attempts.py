"""Mirrors `processors/queue/attempts.py` and `consumer.py` (rule 4), around the real `Offsets`."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import Message

from processors.queue.first_deliveries import FirstDeliveries
from processors.queue.redistribution import Redirect, Waiting
from tests.simulator.family import Family
from tests.simulator.groups import Consumer
from tests.simulator.handing_back import HandingBack
from tests.simulator.network import BrokerError
from tests.simulator.offsets import Offsets, Taken
from tests.simulator.scheduler import Cancelled, Future, Process, Scheduler, Task, Wait, all_of
from topics.fold import QueuedWork
from topics.kafka.codec import DecodeError, decode
from topics.model import Model

if TYPE_CHECKING:
    from tests.simulator.world import World

RENEWAL_S = 1.0
QUIET_S = 0.05
COMMIT_PERIOD_S = 0.1
UNDECIDED_LOOK_S = 0.1
GRACE_S = 5.0
READ_AHEAD = 3


class Attempt:
    """`Attempt`: one attempt at this process."""

    def __init__(self, work: Any, process: Process, family: Family, scheduler: Scheduler) -> None:
        self.work = work
        self.waiting = self.begun = False
        self.task: Task | None = None
        self.through: Task | None = None
        self.end: Future | None = None
        self.ours = Future(scheduler)
        self._process, self._family = process, family
        self._unsaid: list[Model] | None = None

    def be_quiet(self) -> None:
        """Keep what happens on the way to oneself, until `speak` or the end."""
        self._unsaid = []

    def speak(self) -> None:
        """Say what was kept, and from now on everything at once."""
        unsaid, self._unsaid = self._unsaid or [], None
        for fact in unsaid:
            self.say(fact)

    def forget_unsaid(self) -> None:
        """Nobody cares any more."""
        self._unsaid = None

    def say(self, fact: Model) -> None:
        """Say something that happened on the way."""
        if self._unsaid is None:
            self._family.say(self._process, self.work.id, fact)
        else:
            self._unsaid.append(fact)

    def conclude(self, fact: Model) -> None:
        """Say what became of it; only the first time counts."""
        if self.end is None:
            self.speak()
            self.end = self._family.say(self._process, self.work.id, fact)


class HostFaultError(Exception):
    """Whatever a craft raises that is nobody's fault but the host's."""


class Craft(Protocol):
    """`Craft`: in what worker and builder differ."""

    def started(self, work: Any) -> Model:
        """The fact that this process is at it."""
        ...

    def carry_out(self, attempt: Attempt) -> Wait:
        """Do it, and `attempt.conclude`."""
        ...

    def handed_back(self, work: Any, reason: str, *, host_fault: bool) -> Model:
        """The fact that another must do it."""
        ...

    def unwanted(self, work: Any) -> bool:
        """Whether a stop order came."""
        ...


class Attempts:
    """`Attempts`, `Popper` and `LeaseKeeper` of one process."""

    def __init__(
        self,
        world: "World",
        process: Process,
        family: Family,
        craft: Craft,
        *,
        slots: int,
        max_waiting: int,
        memory_bytes: int | None = None,
    ) -> None:
        self._world, self._process, self._family, self._craft = world, process, family, craft
        self._slots, self._max_waiting = slots, max_waiting
        self._held: dict[tuple[str, int], Attempt] = {}
        self._consumer = Consumer(
            world.scheduler,
            world.network,
            process,
            family.work_group,
            family.queue,
            on_revoke=self._forget,
            before_revoke=self._before_revoke,
        )
        self._offsets = Offsets(self._over)
        self._first_deliveries = FirstDeliveries()
        self._looked_s = 0.0
        self._handing_back = HandingBack(world, process, family, memory_bytes)
        self._waiting: list[Waiting] = []
        self._read_all = True
        self._undecided_until_s = 0.0

    def run(self) -> Wait:
        """`run`: work until stopped, then drain."""
        self._spawn(self._renew())
        popping = self._spawn(self._pop())
        yield self._process.stop
        yield popping.done
        yield from self._drain()
        self._world.scheduler.end(self._process)

    def cancel(self, id: str, up_to_attempt: int) -> None:
        """`cancel`: a stop order came."""
        for (held, number), attempt in tuple(self._held.items()):
            if held == id and number <= up_to_attempt and attempt.task is not None:
                attempt.task.cancel()

    def _spawn(self, generator: Wait) -> Task:
        return self._world.scheduler.spawn(self._process, generator)

    # -- LeaseKeeper --------------------------------------------------------------------------------

    def _take_lease(self, id: str, attempt: int) -> Future:
        self._process.leases.setdefault((id, attempt), self._world.scheduler.now_s)
        if held := self._held.get((id, attempt)):
            self._spawn(self._speak_in(held, 0.0))
        return self._family.say_lease(self._process, "taken", id, attempt)

    def _release(self, id: str, attempt: int) -> None:
        if self._process.leases.pop((id, attempt), None) is not None:
            self._family.say_lease(self._process, "released", id, attempt)

    def _renew(self) -> Wait:
        """`keep`."""
        while True:
            yield RENEWAL_S
            for id, attempt in tuple(self._process.leases):
                self._family.say_lease(self._process, "renewed", id, attempt)

    # -- Popper -------------------------------------------------------------------------------------

    def _room(self) -> int:
        held = self._held.values()
        if any(attempt.work.alone for attempt in held):
            return 0
        waiting = sum(attempt.waiting for attempt in held)
        room = self._slots - (len(held) - waiting)
        return min(room, self._max_waiting - waiting) if waiting else room

    def _pop(self) -> Wait:
        """`_run`."""
        while not self._process.stop.done:
            yield from self._step()
        yield from self._consumer.close()

    def _forget(self, partitions: list[int]) -> None:
        """`_on_lost`."""
        self._offsets.forget(partitions)
        self._first_deliveries.forget(partitions)
        self._waiting = [each for each in self._waiting if each.message.partition() not in partitions]

    def _before_revoke(self, partitions: list[int]) -> Wait:
        """`_on_revoke`."""
        yield from self._secure(self._offsets.unsettled(partitions))

    def _step(self) -> Wait:
        """`_step`: without room it hands back what others have room for."""
        room = self._room()
        self._handing_back.hear()
        self._handing_back.tell(
            frozenset(self._consumer.owned), room, idle=self._read_all and not self._waiting
        )
        if room > 0 and self._waiting and self._world.scheduler.now_s >= self._undecided_until_s:
            taken, self._waiting = self._waiting[:room], self._waiting[room:]
            yield from self._take([each.message for each in taken])
            return
        yield from self._look_after_what_runs()
        if not self._waiting:
            yield from self._read(max(1, room))
            if not self._waiting:
                yield self._world.subscribe(self._family.queue)
        elif self._world.scheduler.now_s < self._undecided_until_s:
            yield UNDECIDED_LOOK_S
            yield from self._consumer.poll(0)
        elif not (yield from self._hand_back()):
            yield self._world.subscribe((*self._family.queue, self._family.slots))
            if len(self._waiting) < READ_AHEAD:
                yield from self._read(len(self._waiting) + 1)
            else:
                yield from self._consumer.poll(0)

    def _read(self, limit: int) -> Wait:
        """`_read`."""
        while len(self._waiting) < limit:
            message = yield from self._consumer.poll_one()
            self._read_all = message is None
            if message is None:
                return
            self._waiting.append(Waiting(message, self._world.scheduler.now_s))

    def _hand_back(self) -> Wait:
        """`_hand_back`."""
        if elsewhere := self._handing_back.elsewhere():
            yield from self._read(min(elsewhere, READ_AHEAD))
        if not elsewhere or not (moving := self._handing_back.leaving(self._waiting)):
            return False
        messages = [each.message for each in self._waiting[: len(moving)]]
        self._waiting = self._waiting[len(moving) :]
        yield from self._move(moving, messages)
        return True

    def _move(self, moving: list[Redirect], messages: list[Message]) -> Wait:
        yield from all_of([self._handing_back.produce(*each) for each in moving])
        for message in messages:
            self._taken(message, None)

    def _take(self, messages: list[Message]) -> Wait:
        """`_take`."""
        acknowledgements: list[Future] = []
        to_secure: set[int] = set()
        for number, message in enumerate(messages):
            try:
                work = decode(self._family.work, message.value())
            except DecodeError:  # it becomes a dead letter
                self._taken(message, None)
                continue
            if self._handing_back.is_too_large(work.memory_bytes):
                if moved := self._handing_back.to_abler(message, work.memory_bytes):
                    acknowledgements.append(self._handing_back.produce(*moved))
                    self._taken(message, None)
                    continue
                if not self._handing_back.knows_others():
                    self._postpone(messages[number:])
                    break
            begun = self._begin(work, first_delivery=self._is_first_delivery(message))
            self._taken(message, work)
            if begun:
                acknowledgements.append(begun)
                to_secure.add(message.partition() or 0)
            yield 0.0
        yield from all_of(acknowledgements)
        if to_secure:
            yield from self._secure(self._offsets.unsettled(to_secure))

    def _postpone(self, messages: list[Message]) -> None:
        """`_postpone`."""
        now_s = self._world.scheduler.now_s
        self._waiting[:0] = [Waiting(message, now_s) for message in messages]
        self._undecided_until_s = now_s + UNDECIDED_LOOK_S

    def _is_first_delivery(self, message: Message) -> bool:
        """`_is_first_delivery`."""
        high_watermark = self._consumer.high_watermarks[message.partition() or 0]
        return self._first_deliveries.is_first(message, high_watermark)

    def _taken(self, message: Message, work: QueuedWork | None) -> None:
        now_s = self._world.scheduler.now_s
        self._offsets.take(message.partition() or 0, message.offset() or 0, work, now_s)

    def _look_after_what_runs(self) -> Wait:
        """`_look_after_what_runs`."""
        now_s = self._world.scheduler.now_s
        if now_s - self._looked_s >= COMMIT_PERIOD_S:
            self._looked_s = now_s
            yield from self._secure(self._offsets.unsettled(until_s=now_s - RENEWAL_S))

    def _secure(self, unsettled: list[Taken]) -> Wait:
        """`_secure`: lease, commit, deliver."""
        yield from all_of([self._take_lease(each.work.id, each.work.attempt) for each in unsettled])
        for each in unsettled:
            each.settled = True
        yield from self._commit()
        for each in unsettled:
            self._deliver(each.work)

    def _commit(self) -> Wait:
        if not (offsets := self._offsets.committable()):
            return
        member = self._consumer.member or "nobody"
        with suppress(BrokerError):  # else the records come to another as well: two run one attempt (rule 3)
            yield self._consumer.call(lambda: self._family.work_group.commit(member, offsets))
            self._offsets.committed(offsets)

    # -- Attempts -----------------------------------------------------------------------------------

    def _begin(self, work: QueuedWork, *, first_delivery: bool) -> Future | None:
        """`begin`."""
        key, started = (work.id, work.attempt), self._craft.started(work)
        if key in self._held:
            return self._family.say(self._process, work.id, started)
        attempt = self._held[key] = Attempt(work, self._process, self._family, self._world.scheduler)
        said = None
        if first_delivery and work.attempt == 1:
            attempt.ours.set()
            attempt.be_quiet()
            attempt.say(started)
        else:
            said = self._family.say(self._process, work.id, started)
        self._spawn(self._speak_in(attempt, QUIET_S))
        attempt.task = self._spawn(self._carry_out(attempt))
        attempt.through = self._spawn(self._see_through(attempt, attempt.task))
        return said

    def _speak_in(self, attempt: Attempt, delay_s: float) -> Wait:
        yield delay_s
        attempt.speak()

    def _over(self, work: QueuedWork) -> bool:
        """`over`."""
        return (work.id, work.attempt) not in self._held

    def _deliver(self, work: QueuedWork) -> None:
        """`_delivered`."""
        if attempt := self._held.get((work.id, work.attempt)):
            attempt.ours.set()
        else:  # it was over before its lease was acknowledged
            self._release(work.id, work.attempt)

    def _carry_out(self, attempt: Attempt) -> Wait:
        """`_carry_out`: to a conclusion, or to none where Kafka or the fold gives it to another by itself."""
        work = attempt.work
        try:
            if not self._craft.unwanted(work):
                yield from self._craft.carry_out(attempt)
        except Cancelled:
            if attempt.ours.done and not self._craft.unwanted(work):
                attempt.conclude(self._craft.handed_back(work, "its worker was stopped", host_fault=False))
        except HostFaultError as error:
            attempt.conclude(self._craft.handed_back(work, str(error), host_fault=True))

    def _see_through(self, attempt: Attempt, task: Task) -> Wait:
        """`_see_through`: let go once the conclusion is acknowledged, never before."""
        yield task.done
        attempt.forget_unsaid()
        if attempt.end is not None:
            yield attempt.end
        self._release(attempt.work.id, attempt.work.attempt)
        del self._held[attempt.work.id, attempt.work.attempt]

    def _drain(self) -> Wait:
        """`_drain`: let what runs finish, within the grace period; hand the rest back at once."""
        attempts = tuple(self._held.values())
        for attempt in attempts:
            if attempt.task and not attempt.begun:
                attempt.task.cancel()
        deadline_s = self._world.scheduler.now_s + GRACE_S
        while any(attempt.task and not attempt.task.done.done for attempt in attempts):
            if self._world.scheduler.now_s >= deadline_s:
                break
            yield 0.1
        for attempt in attempts:
            if attempt.task:
                attempt.task.cancel()
        yield from all_of([each.through.done for each in self._held.values() if each.through])
        yield 0.05  # `EventProducer.close`: what is in the local queue is sent
