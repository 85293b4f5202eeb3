"""Consumer groups: members, partitions given up before they are given on, offsets; and a consumer."""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from confluent_kafka import Message

from tests.simulator.broker import Log, Transaction
from tests.simulator.network import BrokerError, Network
from tests.simulator.scheduler import Future, Process, Scheduler, Wait

HEARTBEAT_S = 1.0
_STALL_CHANCE, _LONGEST_STALL_S = 0.02, 3.0
"""How often the thread that polls stands still between two polls of a batch, and for how long at most."""


class UnknownMemberError(BrokerError):
    """The member was given up."""


class FencedInstanceError(BrokerError):
    """Another process has this `group.instance.id` now: the consumer is dead."""


class UnstableOffsetError(BrokerError):
    """A transaction that is not over has offsets for the partition."""


class _Member:
    __slots__ = ("heard_s", "id", "instance")

    def __init__(self, id: str, instance: str | None, heard_s: float) -> None:
        self.id, self.instance, self.heard_s = id, instance, heard_s


class Group:
    """At the coordinator."""

    def __init__(self, scheduler: Scheduler, name: str, partitions: int, session_s: float) -> None:
        self._scheduler, self.name, self._partitions = scheduler, name, partitions
        self._session_s = session_s
        self._members: dict[str, _Member] = {}
        self._owners: dict[int, str] = {}
        self._target: dict[int, str] = {}
        self._fenced: set[str] = set()
        self._number = 0
        self.offsets: dict[int, int] = {}
        self._stamps: dict[int, int] = {}
        self._pending: dict[int, dict[Transaction, int]] = {p: {} for p in range(partitions)}
        self.on_commit: list[Callable[[Group, int, int, int], None]] = []
        """Called with the partition, its old and its new offset."""

    # -- members ------------------------------------------------------------------------------------

    def join(self, instance: str | None) -> str:
        """A new member's id; a static member takes the place of its predecessor, without a rebalance."""
        self._number += 1
        member = _Member(f"{self.name}-{self._number}", instance, self._scheduler.now_s)
        predecessor = next((m for m in self._members.values() if instance and m.instance == instance), None)
        if predecessor is not None:
            del self._members[predecessor.id]
            self._fenced.add(predecessor.id)
            for places in (self._owners, self._target):
                places.update({p: member.id for p, id in places.items() if id == predecessor.id})
        self._members[member.id] = member
        if predecessor is None:
            self.rebalance()
        return member.id

    def leave(self, id: str) -> None:
        """A member goes; a static one may come back, so nothing changes yet."""
        member = self._members.get(id)
        if member is not None and member.instance is None:
            self._remove(id)

    def expire(self) -> None:
        """Give up members that were not heard of."""
        oldest_s = self._scheduler.now_s - self._session_s
        for member in [m for m in self._members.values() if m.heard_s < oldest_s]:
            self._remove(member.id)

    def forget(self) -> None:
        """Give up a member that lives: its heartbeats were lost."""
        if self._members:
            self._remove(self._scheduler.random.choice(list(self._members)))

    def restarted(self) -> None:
        """The coordinator is back: sessions begin anew."""
        for member in self._members.values():
            member.heard_s = self._scheduler.now_s

    def _remove(self, id: str) -> None:
        del self._members[id]
        self._owners = {p: owner for p, owner in self._owners.items() if owner != id}
        self.rebalance()

    def rebalance(self, *, shuffled: bool = False) -> None:
        """Who should own what: as it was where possible, or all anew."""
        ids = list(self._members)
        kept = {} if shuffled else {p: id for p, id in self._target.items() if id in self._members}
        self._target = kept
        if not ids:
            return
        if shuffled:
            self._scheduler.random.shuffle(ids)
        loads = {id: sum(owner == id for owner in kept.values()) for id in ids}
        for partition in range(self._partitions):
            least = min(ids, key=loads.__getitem__)
            present = kept.get(partition)
            if present is None or loads[present] > loads[least] + 1:
                kept[partition] = least
                loads[least] += 1
                if present is not None:
                    loads[present] -= 1

    def heartbeat(self, id: str, owned: frozenset[int]) -> frozenset[int]:
        """What the member owns now, or may take now that nobody else owns it."""
        self._known(id).heard_s = self._scheduler.now_s
        # What was granted and then taken away before the member acted on it is nobody's.
        never_taken = [p for p, owner in self._owners.items() if owner == id and p not in owned]
        self.revoked(id, never_taken)
        granted = {p for p, owner in self._target.items() if owner == id and self._owners.get(p, id) == id}
        self._owners.update(dict.fromkeys(granted, id))
        return frozenset(granted)

    def revoked(self, id: str, partitions: Iterable[int]) -> None:
        """The member has given them up."""
        self._known(id)
        for partition in partitions:
            if self._owners.get(partition) == id:
                del self._owners[partition]

    def _known(self, id: str) -> _Member:
        if id in self._fenced:
            raise FencedInstanceError(id)
        if id not in self._members:
            raise UnknownMemberError(id)
        return self._members[id]

    # -- offsets ------------------------------------------------------------------------------------

    def check(self, id: str | None) -> None:
        """Whether a member may commit: any may any offset, and without one nobody is fenced (classic)."""
        if id is not None:
            self._known(id)

    def commit(self, id: str | None, offsets: dict[int, int]) -> None:
        """Commit outside of a transaction."""
        self.check(id)
        for partition, offset in offsets.items():
            self._number += 1
            self._set(partition, offset, self._number)

    def pend(self, transaction: Transaction, offsets: dict[int, int]) -> None:
        """Offsets within a transaction."""
        for partition in offsets:
            self._number += 1
            self._pending[partition][transaction] = self._number
        transaction.offsets |= offsets

    def mark(self, transaction: Transaction) -> None:
        """The transaction is over: its offsets count, unless newer ones do."""
        for partition, offset in transaction.offsets.items():
            stamp = self._pending[partition].pop(transaction)
            if transaction.committed and stamp > self._stamps.get(partition, 0):
                self._set(partition, offset, stamp)

    def _set(self, partition: int, offset: int, stamp: int) -> None:
        before = self.offsets.get(partition, 0)
        self.offsets[partition], self._stamps[partition] = offset, stamp
        for observer in self.on_commit:
            observer(self, partition, before, offset)

    def committed(self, partitions: Iterable[int], *, stable: bool = True) -> dict[int, int]:
        """Committed offsets; to read_committed consumers only when no transaction may still change them."""
        if stable and any(self._pending[p] for p in partitions):
            raise UnstableOffsetError(str(partitions))
        return {p: self.offsets.get(p, 0) for p in partitions}


class Consumer:
    """A member's client: it hears of a rebalance at a heartbeat and acts on it at the next poll."""

    def __init__(
        self,
        scheduler: Scheduler,
        network: Network,
        process: Process,
        group: Group,
        logs: list[Log],
        *,
        instance: str | None = None,
        on_assign: Callable[[list[int]], Wait] | None = None,
        on_revoke: Callable[[list[int]], None] = lambda _: None,
        before_revoke: Callable[[list[int]], Wait] | None = None,
        on_lost: Callable[[list[int]], Wait] | None = None,
        in_background: bool = False,
    ) -> None:
        """`before_revoke`: as long as they are still ours; they may be lost without it.

        `in_background`: act on a rebalance beside the polls, as Faust does.
        """
        self._scheduler, self._network = scheduler, network
        self.process, self.group, self._logs = process, group, logs
        self._instance = instance
        self._on_assign = on_assign or self._from_committed
        self._on_revoke = on_revoke
        self._before_revoke = before_revoke or _at_once
        self._on_lost = on_lost or _at_once
        self.member: str | None = None
        self.owned: dict[int, int] = {}
        """What is assigned, and from where to fetch next."""
        self.high_watermarks: dict[int, int] = {}
        """As the last fetch said."""
        self._buffer: deque[Message] = deque()
        self._granted: frozenset[int] | None = None
        self._assigning: frozenset[int] = frozenset()
        self._in_background = in_background
        self._lost = self._closed = False
        self._revocations = 0
        self._news = Future(scheduler)
        self.fatal: BrokerError | None = None
        scheduler.spawn(process, self._heartbeats())

    def call(self, request: Callable[[], Any]) -> Any:
        """Ask the coordinator."""
        return self._network.call(self.process, request)

    def _heartbeats(self) -> Wait:
        while self.fatal is None and not self._closed:
            try:
                if self.member is None and not self._lost:  # first the application must know
                    self.member = yield self.call(lambda: self.group.join(self._instance))
                if self.member is not None:
                    yield from self._heartbeat(self.member)
            except FencedInstanceError as error:
                self.fatal = error
                self._news.set()
            except UnknownMemberError:
                self.member, self._lost = None, True
                self._news.set()
            if self._in_background:
                yield from self._rebalance_if_due()
            yield HEARTBEAT_S

    def _heartbeat(self, member: str) -> Wait:
        revocations = self._revocations
        granted = yield self.call(partial(self.group.heartbeat, member, self._taken()))
        if revocations == self._revocations:
            self._granted = granted
            if granted != self.owned.keys():
                self._news.set()

    def _taken(self) -> frozenset[int]:
        return frozenset({*self.owned, *self._assigning, *(self._granted or ())})

    def poll(self, limit: int) -> Wait:
        """Up to `limit` records, and whatever a rebalance asks for.

        Raises:
            BrokerError: the consumer is dead.
        """
        if self.fatal is not None:
            raise self.fatal
        # `consume_batch`: what the first poll brought may be of a partition that the second one takes away.
        first = [self._buffer.popleft()] if self._buffer and limit else []
        if not self._in_background:
            yield from self._rebalance_if_due()
        if not self._buffer and not first and self._network.reaches(self.process):
            self._fetch()
        return first + [self._buffer.popleft() for _ in range(min(limit - len(first), len(self._buffer)))]

    def poll_batch(self, limit: int) -> Wait:
        """As `consume_batch` polls: once for the first record, and once for up to `limit` in all.

        Raises:
            BrokerError: the consumer is dead.
        """
        if self.fatal is not None:
            raise self.fatal
        first: list[Message] = []
        # What was fetched may stand before a rebalance in the client's queue, or after it.
        if self._scheduler.random.random() < 0.5 or limit == 1:
            yield from self._rebalance_if_due()
        if limit:
            first = self._fetched(1)
        if first and self._scheduler.random.random() < _STALL_CHANCE:
            yield self._scheduler.random.random() * _LONGEST_STALL_S
        if limit != 1:
            yield from self._rebalances(first)
        return first + self._fetched(limit - len(first))

    def _rebalances(self, first: list[Message]) -> Wait:
        """The second poll may serve several, such as the loss of partitions and their return."""
        owned = frozenset(self.owned)
        yield from self._rebalance_if_due()
        if first and not owned <= self.owned.keys():
            for _ in range(20):
                yield HEARTBEAT_S / 10
                if self._lost or (self._granted or frozenset()) - self.owned.keys():
                    break
            yield from self._rebalance_if_due()

    def _fetched(self, limit: int) -> list[Message]:
        if not self._buffer and limit and self._network.reaches(self.process):
            self._fetch()
        return [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]

    def news(self) -> Future:
        """Known once there may be something to read, or to do at the next poll."""
        self._news = Future(self._scheduler)
        for partition in self.owned:
            self._logs[partition].listeners.append(self._news)
        return self._news

    def poll_one(self) -> Wait:
        """The next record, or None: of a partition that is owned when it is returned.

        Raises:
            BrokerError: the consumer is dead.
        """
        if not (messages := (yield from self.poll(0))) and self._buffer:
            messages = [self._buffer.popleft()]
        return messages[0] if messages else None

    def _rebalance_if_due(self) -> Wait:
        if self._lost:
            self._lost, self._granted = False, None
            yield from self._on_lost(list(self.owned))
            self._give_up(list(self.owned))
        if self._granted is not None:
            yield from self._rebalance(self._granted)

    def _rebalance(self, granted: frozenset[int]) -> Wait:
        self._granted = None
        if gone := [p for p in self.owned if p not in granted]:
            yield from self._before_revoke(gone)
            self._give_up(gone)
            member = self.member
            if member is not None:
                self._revocations += 1
                try:
                    yield self.call(lambda: self.group.revoked(member, gone))
                except BrokerError:
                    return  # the next heartbeat says the same
        if new := sorted(granted - self.owned.keys()):
            self._assigning = frozenset(new)
            positions = yield from self._on_assign(new)
            self._assigning = frozenset()
            self.owned.update(positions)

    def _give_up(self, partitions: list[int]) -> None:
        self._on_revoke(partitions)
        for partition in partitions:
            del self.owned[partition]
        self._buffer = deque(m for m in self._buffer if m.partition() in self.owned)

    def _from_committed(self, partitions: list[int]) -> Wait:
        return (yield self.call(lambda: self.group.committed(partitions)))

    def _fetch(self) -> None:
        batch = self._scheduler.random.choice((1, 3, 50))
        for partition, position in self.owned.items():
            self.high_watermarks[partition] = self._logs[partition].end
            read = self._logs[partition].read(position, batch)
            self.owned[partition] = read.position
            self._buffer.extend(read.messages)

    def seek(self, positions: dict[int, int]) -> None:
        """Read on from elsewhere."""
        self.owned.update(positions)
        self._buffer = deque(m for m in self._buffer if m.partition() not in positions)

    def close(self) -> Wait:
        """Leave the group."""
        yield from self._before_revoke(list(self.owned))
        self._closed = True
        if (member := self.member) is not None:
            yield self.call(lambda: self.group.leave(member))


def _at_once(_: list[int]) -> Wait:
    yield from ()
