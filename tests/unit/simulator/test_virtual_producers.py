"""The simulated producers: order, late acknowledgements, epochs that fence, calls that may be made again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.simulator.groups import Group
from tests.simulator.transactions import TIMEOUT_S, Coordinator
from tests.simulator.virtual.producer import VirtualProducer
from tests.simulator.virtual.transactional_producer import VirtualTransactionalProducer
from tests.unit.simulator.machine import Machine
from topics.kafka.codec import Record


class Store:
    """A group with a topic, and a coordinator."""

    def __init__(self) -> None:
        self.machine = Machine()
        [self.log] = self.machine.broker.create("topic", 1)
        self.group = Group(self.machine.scheduler, "group", 1, 10.0)
        self.coordinator = Coordinator(
            self.machine.scheduler, self.machine.network, self.machine.broker, self.group
        )
        self.member = self.group.join(None)
        self.loop = self.machine.loop()

    def producer(self) -> VirtualTransactionalProducer:
        loop = self.loop = self.machine.loop()
        network, broker = self.machine.network, self.machine.broker
        return VirtualTransactionalProducer(loop, network, broker, self.coordinator, "id")

    def values(self) -> list[bytes | str | None]:
        return [message.value() for message in self.log.read(0, 100).messages]


@pytest.fixture
def store() -> Store:
    return Store()


def record(value: bytes) -> Record:
    return Record("topic", b"key", value, [])


async def retried(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await call()
        except KafkaException as exception:
            if not exception.args[0].retriable():
                raise
            await asyncio.sleep(0.05)
        else:
            return


def test_publish_keeps_the_order_and_waits_for_the_acknowledgement(store: Store) -> None:
    producer = VirtualProducer(store.loop, store.machine.network)

    async def main() -> list[int | None]:
        futures = [producer.publish(record(b"%d" % number)) for number in range(20)]
        return [(await future).offset() for future in futures]

    assert store.machine.run(store.loop, main()) == [*range(20)]
    assert store.values() == [b"%d" % number for number in range(20)]


def test_an_acknowledgement_is_as_late_as_the_network_and_lost_with_the_process(store: Store) -> None:
    producer = VirtualProducer(store.loop, store.machine.network)
    future = producer.publish(record(b"a"))
    store.machine.until(lambda: store.log.end == 1)
    store.machine.scheduler.cut_off(store.loop.process, 60)
    again = producer.publish(record(b"b"))
    store.machine.advance(50)
    assert (again.done(), store.log.end) == (False, 1)
    store.machine.until(lambda: store.log.end == 2)
    assert future.done()
    store.machine.scheduler.end(store.loop.process)
    store.machine.advance(100)
    assert not again.done()


def test_records_and_offsets_are_one_transaction(store: Store) -> None:
    producer = store.producer()

    async def main() -> None:
        await producer.init()
        producer.begin()
        producer.produce(record(b"a"))
        producer.produce(record(b"b"))
        await retried(lambda: producer.send_offsets("events", {0: 5}, store.member))
        assert (store.values(), store.group.offsets) == ([], {})
        await retried(producer.commit)

    store.machine.run(store.loop, main())
    store.machine.advance(5)
    assert (store.values(), store.group.offsets) == ([b"a", b"b"], {0: 5})


def test_what_is_aborted_is_never_seen(store: Store) -> None:
    producer = store.producer()

    async def main() -> None:
        await producer.init()
        producer.begin()
        producer.produce(record(b"a"))
        await retried(lambda: producer.send_offsets("events", {0: 5}, store.member))
        await retried(producer.abort)
        producer.begin()
        producer.produce(record(b"b"))
        await retried(lambda: producer.send_offsets("events", {0: 6}, store.member))
        await retried(producer.commit)

    store.machine.run(store.loop, main())
    store.machine.advance(5)
    assert (store.values(), store.group.offsets) == ([b"b"], {0: 6})


def test_the_next_transaction_waits_for_the_markers_of_the_last(store: Store) -> None:
    producer = store.producer()
    store.coordinator.slow_until_s = 1000.0

    async def commit(value: bytes) -> float:
        producer.begin()
        producer.produce(record(value))
        started_s = store.loop.time()
        await retried(lambda: producer.send_offsets("events", {0: 5}, store.member))
        await retried(producer.commit)
        return store.loop.time() - started_s

    async def main() -> list[float]:
        await producer.init()
        return [await commit(value) for value in (b"a", b"b")]

    first_s, second_s = store.machine.run(store.loop, main())
    assert second_s > first_s
    store.machine.advance(20)
    assert store.values() == [b"a", b"b"]


def test_a_new_epoch_fences_the_old_one_until_it_begins_anew(store: Store) -> None:
    zombie = store.producer()
    zombie_loop = store.loop

    async def begin() -> None:
        await zombie.init()
        zombie.begin()
        zombie.produce(record(b"a"))
        await retried(lambda: zombie.send_offsets("events", {0: 5}, store.member))

    store.machine.run(zombie_loop, begin())
    successor = store.producer()
    store.machine.run(store.loop, retried(successor.init))
    for call in (zombie.commit, zombie.abort):
        with pytest.raises(KafkaException) as raised:
            store.machine.run(zombie_loop, call())
        assert raised.value.args[0].fatal()
    with pytest.raises(KafkaException):
        zombie.begin()
    store.machine.run(zombie_loop, retried(zombie.init))
    zombie.begin()
    assert (store.values(), store.group.offsets) == ([], {})


def test_a_transaction_that_takes_too_long_is_aborted(store: Store) -> None:
    producer = store.producer()

    async def main() -> None:
        await producer.init()
        producer.begin()
        producer.produce(record(b"a"))
        await asyncio.sleep(TIMEOUT_S + 2)
        store.coordinator.sweep()
        await retried(producer.commit)

    with pytest.raises(KafkaException) as raised:
        store.machine.run(store.loop, main())
    assert raised.value.args[0].code() == KafkaError._FENCED
    assert store.values() == []


@pytest.mark.parametrize("gone", [True, False])
def test_the_group_fences_members_that_it_gave_up_but_not_what_names_none(store: Store, gone: bool) -> None:
    producer = store.producer()
    store.group._remove(store.member)

    async def main() -> None:
        await producer.init()
        producer.begin()
        producer.produce(record(b"a"))
        await retried(lambda: producer.send_offsets("events", {0: 5}, store.member if gone else None))
        await retried(producer.commit)

    if gone:
        with pytest.raises(KafkaException) as raised:
            store.machine.run(store.loop, main())
        error = raised.value.args[0]
        assert (error.txn_requires_abort(), error.retriable(), error.fatal()) == (True, False, False)
        store.machine.run(store.loop, producer.abort())
    else:
        store.machine.run(store.loop, main())
        store.machine.advance(5)
        assert store.values() == [b"a"]


def test_a_call_that_timed_out_goes_on_when_it_is_made_again(store: Store) -> None:
    producer = store.producer()
    attempts = []

    async def commit() -> None:
        attempts.append(store.loop.time())
        await producer.commit()

    async def main() -> None:
        await producer.init()
        producer.begin()
        producer.produce(record(b"a"))
        await retried(lambda: producer.send_offsets("events", {0: 5}, store.member))
        store.machine.scheduler.cut_off(store.loop.process, 25)
        await retried(commit)

    store.machine.run(store.loop, main())
    assert len(attempts) == 3
    store.machine.advance(5)
    assert store.values() == [b"a"]


def test_what_is_out_of_order_is_refused(store: Store) -> None:
    producer = store.producer()
    store.machine.run(store.loop, producer.init())
    with pytest.raises(KafkaException, match="no transaction is open"):
        producer.produce(record(b"a"))
    with pytest.raises(KafkaException, match="no transaction is open"):
        store.machine.run(store.loop, producer.abort())
    producer.begin()
    with pytest.raises(KafkaException, match="a transaction is open"):
        producer.begin()
    for number in range(1000):
        producer.produce(record(b"%d" % number))
    with pytest.raises(BufferError):
        producer.produce(record(b"too many"))
    store.machine.advance(10)
    assert store.log.end == 1000
