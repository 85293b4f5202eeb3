"""The transaction coordinator: one open transaction per id, epochs that fence, markers that take time."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random

from tests.simulator.broker import Broker, Log, Transaction
from tests.simulator.groups import Group
from tests.simulator.network import BrokerError, Network
from tests.simulator.scheduler import Scheduler
from topics.kafka.codec import Record

TIMEOUT_S = 5.0
SWEEP_S = 5.0
SLOWEST_MARKER_S = 8.0


class FencedError(BrokerError):
    """A newer producer has this transactional id, or the transaction timed out."""


class BusyError(BrokerError):
    """CONCURRENT_TRANSACTIONS: markers of the last one are still being written; to be retried."""


class _Producer:
    __slots__ = ("epoch", "transaction")

    def __init__(self) -> None:
        self.epoch = 0
        self.transaction: Transaction | None = None


class Coordinator:
    """Of the transactional ids of one group of store processors."""

    def __init__(self, scheduler: Scheduler, network: Network, broker: Broker, group: Group) -> None:
        self._scheduler, self._network, self._broker, self._group = scheduler, network, broker, group
        self._producers: dict[str, _Producer] = {}
        self.on_decided: list[Callable[[Transaction], None]] = []
        self.on_request: list[Callable[[str], None]] = []
        """Called with the transactional id, at each request but the commit."""
        self.slow_until_s = 0.0
        """Until then markers take seconds."""

    def init(self, id: str) -> int:
        """A new epoch, once what a predecessor left open is aborted."""
        producer = self._producers.setdefault(id, _Producer())
        producer.epoch += 1
        if producer.transaction is not None:
            if producer.transaction.committed is None:
                self._decide(producer, committed=False)
            raise BusyError(id)
        return producer.epoch

    def fence(self, random: Random) -> None:
        """Another producer takes the id of one of them, as a rebuild does."""
        if self._producers:
            with suppress(BusyError):
                self.init(random.choice(list(self._producers)))

    def ready(self, id: str, epoch: int) -> None:
        """Whether a transaction may begin: the markers of the last one are written."""
        self._idle_or_open(self._current(id, epoch))
        self._tell(id)

    def append(self, id: str, epoch: int, log: Log, record: Record) -> None:
        """A record of the transaction, which begins with the first one."""
        transaction = self._transaction(id, epoch)
        assert isinstance(record.key, bytes)
        assert isinstance(record.value, bytes)
        message = self._broker.append(
            log, record.key, record.value, record.headers, self._scheduler.now_s, transaction
        )
        transaction.logs.setdefault(log, []).append(log.at(message.offset() or 0))
        self._tell(id)

    def add_offsets(self, id: str, epoch: int, member: str | None, offsets: dict[int, int]) -> None:
        """What was consumed, if the group still lets the member commit it."""
        transaction = self._transaction(id, epoch)
        self._group.check(member)
        self._group.pend(transaction, offsets)
        self._tell(id)

    def end(self, id: str, epoch: int, *, committed: bool) -> None:
        """Commit or abort. Decided now, visible when the markers come."""
        producer = self._current(id, epoch)
        transaction = producer.transaction
        if transaction is not None and transaction.committed is None:
            self._decide(producer, committed=committed)

    def sweep(self) -> None:
        """Abort what is open for too long, and fence whose it is."""
        for producer in self._producers.values():
            transaction = producer.transaction
            if transaction is None or transaction.committed is not None:
                continue
            if self._scheduler.now_s - transaction.started_s > TIMEOUT_S:
                producer.epoch += 1
                self._decide(producer, committed=False)

    def _tell(self, id: str) -> None:
        for observer in self.on_request:
            observer(id)

    def _current(self, id: str, epoch: int) -> _Producer:
        producer = self._producers[id]
        if producer.epoch != epoch:
            raise FencedError(id)
        return producer

    def _idle_or_open(self, producer: _Producer) -> None:
        if producer.transaction is not None and producer.transaction.committed is not None:
            raise BusyError

    def _transaction(self, id: str, epoch: int) -> Transaction:
        producer = self._current(id, epoch)
        self._idle_or_open(producer)
        if producer.transaction is None:
            producer.transaction = Transaction(self._scheduler.now_s)
        return producer.transaction

    def _decide(self, producer: _Producer, *, committed: bool) -> None:
        transaction = producer.transaction
        assert transaction is not None
        transaction.committed = committed
        for observer in self.on_decided:
            observer(transaction)

        steps: list[Callable[[], None]] = [
            partial(log.mark, transaction, self._scheduler) for log in transaction.logs
        ]
        if transaction.offsets:
            steps.append(partial(self._group.mark, transaction))
        transaction.unmarked = len(steps)
        if not steps:
            producer.transaction = None
        for step in steps:
            delay_s = self._network.delay_s()
            if self._scheduler.now_s < self.slow_until_s:
                delay_s += self._scheduler.random.random() * SLOWEST_MARKER_S
            self._scheduler.at(
                self._scheduler.now_s + delay_s, None, partial(self._mark, producer, transaction, step)
            )

    def _mark(self, producer: _Producer, transaction: Transaction, step: Callable[[], None], _: int) -> None:
        """One marker is written; with the last one the producer may begin another transaction."""
        step()
        transaction.unmarked -= 1
        if transaction.unmarked == 0:
            producer.transaction = None
