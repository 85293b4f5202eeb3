"""The ports of the store processor on a real broker, as tests/unit/simulator has them in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from processors.store.on_kafka import StoreOnKafka
from processors.store.submission_store import submission_store
from tests.support.submissions import request
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.client_thread import ClientThread
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, encode_fact
from topics.kafka.confluent_reader import ConfluentReader
from topics.kafka.confluent_transactions import ConfluentTransactionalProducer
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS

TIMEOUT_MS = 30_000
DEADLINE_S = 60.0


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    ensure_topics(settings, catalogue(settings).topics())
    return settings


def topic(settings: KafkaSettings) -> str:
    return catalogue(settings).submissions.store.name


async def retried(call: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await call()
            except KafkaException as exception:
                if not exception.args[0].retriable():
                    raise
                await asyncio.sleep(0.05)


async def reached(reader: ConfluentReader, accept: Callable[[int], bool]) -> int:
    """The end of partition 0 once `accept` says yes to it."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            [end] = (await reader.end_offsets([0])).values()
            if accept(end):
                return end
            await asyncio.sleep(0.05)


async def read(reader: ConfluentReader, end: int) -> list[object]:
    """Values, and where the end was reported, once that is not below `end`."""
    found: list[object] = []
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for message in await reader.poll(100, 1.0):
                found.append(_shown(message))
                if message.error() is not None and (message.offset() or 0) >= end:
                    return found


def _shown(message: Message) -> object:
    error = message.error()
    assert error is None or error.code() == KafkaError._PARTITION_EOF
    return message.value() if error is None else message.offset()


def test_ends_count_markers_and_aborted_records(settings: KafkaSettings) -> None:
    name = topic(settings)

    async def main() -> tuple[object, list[object]]:
        producer = ConfluentTransactionalProducer(settings, "producer", TIMEOUT_MS)
        reader = ConfluentReader(settings, name)
        await retried(producer.init)
        for value, end in ((b"aborted", producer.abort), (b"committed", producer.commit)):
            producer.begin()
            producer.produce(Record(name, b"key", value, []), partition=0)
            # The transaction begins at the broker with the first record, in the background.
            await reached(reader, lambda offset: offset % 2 == 1)
            await retried(end)
            await reached(reader, lambda offset: offset % 2 == 0)
        await reader.reconnect()
        ends = await reader.end_offsets([0])
        reader.assign({0: 0})
        found = await read(reader, ends[0])
        await reader.close()
        producer.close()
        return ends, found

    ends, found = asyncio.run(main())
    assert ends == {0: 4}
    assert found[-2:] == [b"committed", 4]
    assert b"aborted" not in found


def test_a_fenced_producer_is_told_so_and_begins_anew(settings: KafkaSettings) -> None:
    name = topic(settings)

    async def main() -> KafkaError:
        zombie = ConfluentTransactionalProducer(settings, "producer", TIMEOUT_MS)
        successor = ConfluentTransactionalProducer(settings, "producer", TIMEOUT_MS)
        await retried(zombie.init)
        zombie.begin()
        zombie.produce(Record(name, b"key", b"value", []), partition=0)
        await retried(successor.init)
        with pytest.raises(KafkaException) as raised:
            await retried(zombie.commit)
        await retried(zombie.init)
        zombie.begin()
        await retried(zombie.abort)
        zombie.close()
        successor.close()
        error: KafkaError = raised.value.args[0]
        return error

    assert asyncio.run(main()).fatal()


def test_a_transaction_waits_for_the_thread_of_its_producer_twice(
    settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the poll that brought the events, these are all crossings of threads for a transaction."""
    crossings: list[str] = []
    made: list[str] = []
    call = ClientThread.call

    async def counted(thread: ClientThread, function: Callable[[], Any]) -> Any:
        crossings.append(thread._thread.name)
        return await call(thread, function)

    monkeypatch.setattr(ClientThread, "call", counted)
    for name in ("init", "send_offsets", "commit", "abort"):
        monkeypatch.setattr(ConfluentTransactionalProducer, name, noted(made, name))
    topics = catalogue(settings)
    local = settings.model_copy(update={"data_dir": tmp_path})
    processor = StoreOnKafka(local, submission_store(topics), "0")
    producer = EventProducer(settings)

    async def main() -> None:
        running = asyncio.create_task(processor.run())
        reader = ConfluentReader(settings, topics.submissions.store.name)
        for number in range(5):
            fact = encode_fact(topics.submissions.events.name, f"id-{number}", request(), FACTS, "test")
            await producer.publish(fact)
            await reached(reader, lambda end, marked=2 * number + 2: end >= marked)  # type: ignore[misc]
        processor.stop()
        await running
        await reader.close()

    asyncio.run(main())
    producer.close()
    assert made.count("commit") >= 5
    assert crossings.count("transactions") == len(made)


def noted(made: list[str], name: str) -> Callable[..., Awaitable[None]]:
    """The method of this name, which notes its calls: on a busy machine some are made again."""
    method: Callable[..., Awaitable[None]] = getattr(ConfluentTransactionalProducer, name)

    async def call(*arguments: object) -> None:
        made.append(name)
        await method(*arguments)

    return call
