"""The simulated reader: committed records, and ends that count what it does not show."""

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from tests.simulator.broker import Transaction
from tests.simulator.virtual.reader import VirtualReader
from tests.unit.simulator.machine import Machine


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.broker.create("topic", 2)
    return machine


def append(machine: Machine, partition: int, value: bytes, transaction: Transaction | None = None) -> None:
    log = machine.broker.topics["topic"][partition]
    machine.broker.append(log, b"key", value, [], machine.scheduler.now_s, transaction)


def end(machine: Machine, transaction: Transaction, *, committed: bool) -> None:
    transaction.committed = committed
    machine.broker.topics["topic"][0].mark(transaction, machine.scheduler)


def told(messages: list[Message]) -> list[object]:
    """Values, and the offsets of ends."""
    shown: list[object] = []
    for message in messages:
        error = message.error()
        assert error is None or error.code() == KafkaError._PARTITION_EOF
        shown.append(message.value() if error is None else message.offset())
    return shown


def test_an_end_counts_markers_and_aborted_records_and_comes_once(machine: Machine) -> None:
    loop = machine.loop()
    reader = VirtualReader(loop, machine.network, machine.broker.topics["topic"])
    aborted, committed = Transaction(0.0), Transaction(0.0)
    append(machine, 0, b"a", aborted)
    end(machine, aborted, committed=False)
    append(machine, 0, b"b", committed)
    end(machine, committed, committed=True)
    assert machine.run(loop, reader.end_offsets([0, 1])) == {0: 4, 1: 0}
    reader.assign({0: 0})
    assert told(machine.run(loop, reader.poll(100, 5))) == [b"b", 4]
    assert told(machine.run(loop, reader.poll(100, 5))) == []
    append(machine, 0, b"c")
    assert told(machine.run(loop, reader.poll(100, 5))) == [b"c", 5]


def test_an_open_transaction_hides_what_follows(machine: Machine) -> None:
    loop = machine.loop()
    reader = VirtualReader(loop, machine.network, machine.broker.topics["topic"])
    transaction = Transaction(0.0)
    append(machine, 0, b"a")
    append(machine, 0, b"b", transaction)
    append(machine, 0, b"c")
    reader.assign({0: 0})
    assert machine.run(loop, reader.end_offsets([0])) == {0: 3}
    assert told(machine.run(loop, reader.poll(100, 5))) == [b"a", 1]
    end(machine, transaction, committed=True)
    assert told(machine.run(loop, reader.poll(100, 5))) == [b"b", b"c", 4]


def test_records_come_up_to_a_limit_from_where_was_assigned(machine: Machine) -> None:
    loop = machine.loop()
    reader = VirtualReader(loop, machine.network, machine.broker.topics["topic"])
    for value in (b"a", b"b", b"c"):
        append(machine, 0, value)
    reader.assign({0: 1})
    assert told(machine.run(loop, reader.poll(1, 5))) == [b"b"]
    reader.assign({0: 0})
    assert told(machine.run(loop, reader.poll(100, 5))) == [b"a", b"b", b"c", 3]


def test_without_the_broker_poll_ends_in_time_and_nothing_is_lost(machine: Machine) -> None:
    loop = machine.loop()
    reader = VirtualReader(loop, machine.network, machine.broker.topics["topic"])
    append(machine, 0, b"a")
    reader.assign({0: 0})
    machine.scheduler.cut_off(loop.process, 30)
    assert machine.run(loop, reader.poll(100, 5)) == []
    assert machine.scheduler.now_s < 10
    with pytest.raises(KafkaException):
        machine.run(loop, reader.end_offsets([0]))
    machine.advance(40)
    assert told(machine.run(loop, reader.poll(100, 5))) == [b"a", 1]


def test_a_new_leader_does_not_know_the_end(machine: Machine) -> None:
    loop = machine.loop()
    log = machine.broker.topics["topic"][0]
    reader = VirtualReader(loop, machine.network, machine.broker.topics["topic"])
    append(machine, 0, b"a")
    log.hidden_until_s = machine.scheduler.now_s + 100.0
    with pytest.raises(KafkaException) as raised:
        machine.run(loop, reader.end_offsets([0]))
    assert raised.value.args[0].code() == KafkaError.OFFSET_NOT_AVAILABLE
    machine.advance(100)
    log.is_low = True
    assert machine.run(loop, reader.end_offsets([0])) == {0: 0}
    assert machine.run(loop, reader.end_offsets([0])) == {0: 1}
