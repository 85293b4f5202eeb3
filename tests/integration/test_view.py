"""A compacted topic as a local table, on a real broker."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient, NewTopic

from topics.kafka import tail
from topics.kafka.clients import EventProducer, connection, consume_batch
from topics.kafka.codec import Record
from topics.kafka.liveness import BrokersLostError
from topics.kafka.tail import TailConsumer
from topics.request.limits import MiB
from topics.settings import KafkaSettings
from topics.views.view import View

DEADLINE_S = 60.0


class Table:
    """A compacted topic of three partitions, and views of it."""

    def __init__(self, kafka: KafkaSettings, name: str, folder: Path) -> None:
        self.settings, self.name, self.folder = kafka, name, folder
        self._admin = AdminClient(connection(kafka))
        self._make()

    def _make(self) -> None:
        topic = NewTopic(self.name, 3, 1, config={"cleanup.policy": "compact"})
        self._admin.create_topics([topic])[self.name].result(DEADLINE_S)

    def make_again(self) -> None:
        self._admin.delete_topics([self.name])[self.name].result(DEADLINE_S)
        self._make()

    async def put(self, **rows: bytes | None) -> None:
        producer = EventProducer(self.settings)
        for key, value in rows.items():
            await producer.publish(Record(self.name, key.encode(), value, []))
        await asyncio.to_thread(producer.close)

    @asynccontextmanager
    async def view(self, folder: Path | None = None) -> AsyncIterator[View]:
        view = View(self.settings, self.name, folder or self.folder)
        await view.start()
        try:
            await asyncio.wait_for(view.wait_caught_up(), DEADLINE_S)
            yield view
        finally:
            await view.close()


@pytest.fixture
def table(kafka: str, topic_prefix: str, tmp_path: Path) -> Table:
    return Table(
        KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix),
        topic_prefix + "table",
        tmp_path / "view",
    )


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 3 * DEADLINE_S))


def test_once_caught_up_it_has_the_latest_of_every_key(table: Table) -> None:
    async def test() -> None:
        await table.put(a=b"1", b=b"1", c=b"1")
        await table.put(a=b"2", b=None)
        async with table.view() as view:
            assert view.caught_up
            assert dict(view.values()) == {"a": b"2", "c": b"1"}
            assert (view.get("a"), view.get("b"), view.get("unknown")) == (b"2", None, None)

    run(test())


def test_an_empty_topic_is_caught_up_with(table: Table) -> None:
    async def test() -> None:
        async with table.view() as view:
            assert dict(view.values()) == {}

    run(test())


def test_a_large_row_is_read(table: Table) -> None:
    async def test() -> None:
        before, after = os.urandom(8 * MiB), os.urandom(8 * MiB)
        await table.put(a=before)
        async with table.view() as view:
            assert view.get("a") == before
            await table.put(a=after)
            assert await view.wait_for("a", lambda value: value == after, DEADLINE_S) == after

    run(test())


def test_waiting_sees_what_is_there_and_what_comes(table: Table) -> None:
    async def test() -> None:
        await table.put(a=b"1")
        async with table.view() as view:
            assert await view.wait_for("a", lambda value: value is not None, DEADLINE_S) == b"1"
            later = asyncio.create_task(view.wait_for("a", lambda value: value == b"3", DEADLINE_S))
            gone = asyncio.create_task(view.wait_for("a", lambda value: value is None, DEADLINE_S))
            await table.put(a=b"2", other=b"3")
            await table.put(a=b"3")
            assert await later == b"3"
            await table.put(a=None)
            assert await gone is None
            with pytest.raises(TimeoutError):
                await view.wait_for("a", lambda value: value is not None, 0.01)

    run(test())


def test_views_that_share_a_consumer_read_their_own_topics(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    async def test() -> None:
        settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
        tables = [
            Table(settings, f"{topic_prefix}{name}", tmp_path / name) for name in ("one", "two", "three")
        ]
        await tables[0].put(a=b"1", b=b"1")
        await tables[1].put(a=b"2")
        consumer = TailConsumer(settings)
        views = [View(settings, table.name, table.folder, consumer=consumer) for table in tables]
        for view in views:
            assert not view.caught_up
            await view.start()
        for view in views:
            await asyncio.wait_for(view.wait_caught_up(), DEADLINE_S)
        assert [dict(view.values()) for view in views] == [{"a": b"1", "b": b"1"}, {"a": b"2"}, {}]
        await tables[2].put(a=b"3")
        await views[2].wait_for("a", lambda value: value == b"3", DEADLINE_S)
        assert await views[2].lag() == 0
        assert views[0].get("a") == b"1"
        await asyncio.gather(*(view.close() for view in views))

    run(test())


def test_records_that_a_lost_client_dropped_are_read_again(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client reports its loss in the middle of a call that has taken records already."""
    failures: list[int] = []

    def dropping(*arguments: Any) -> list[Message]:
        messages = consume_batch(*arguments)
        taken = [message for message in messages if message.error() is None]
        if taken and not failures:
            failures.append(len(taken))
            raise BrokersLostError("lost")
        return messages

    async def scenario() -> None:
        await table.put(**{f"key{number}": b"1" for number in range(10)})
        monkeypatch.setattr(tail, "consume_batch", dropping)
        async with table.view() as view:
            assert failures
            assert len(dict(view.values())) == 10

    run(scenario())


def test_it_resumes_where_it_was_closed(table: Table) -> None:
    """Rows that were changed behind its back stay changed: it reads nothing twice."""

    async def test() -> None:
        await table.put(a=b"1", b=b"1")
        async with table.view():
            pass
        tamper(table.folder, b"=a", b"kept")
        await table.put(b=b"2", c=b"2")
        async with table.view() as view:
            assert dict(view.values()) == {"a": b"kept", "b": b"2", "c": b"2"}

    run(test())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"!identity", b"another cluster"),
        (b"!saved_at", b"0"),
        (b"@0", b"1000000"),
    ],
    ids=["another cluster", "too old", "ahead of the topic"],
)
def test_a_table_that_cannot_be_resumed_is_read_anew(table: Table, key: bytes, value: bytes) -> None:
    async def test() -> None:
        await table.put(a=b"1")
        async with table.view():
            pass
        tamper(table.folder, b"=gone", b"1")
        tamper(table.folder, key, value)
        async with table.view() as view:
            assert dict(view.values()) == {"a": b"1"}

    run(test())


def test_a_topic_that_was_made_again_is_read_anew(table: Table) -> None:
    async def test() -> None:
        await table.put(a=b"1")
        async with table.view():
            pass
        await asyncio.to_thread(table.make_again)
        await table.put(a=b"2")
        async with table.view() as view:
            assert dict(view.values()) == {"a": b"2"}

    run(test())


@pytest.mark.parametrize("files", ["CURRENT", "MANIFEST-*", "*.sst"])
@pytest.mark.parametrize("missing", [True, False], ids=["missing", "garbled"])
def test_a_broken_table_is_read_anew(table: Table, files: str, missing: bool) -> None:
    async def test() -> None:
        await table.put(a=b"1")
        async with table.view():
            pass
        tamper(table.folder, b"=gone", b"1")
        broken = list(table.folder.glob(files))
        assert broken
        for file in broken:
            file.unlink() if missing else file.write_bytes(b"rubbish")
        async with table.view() as view:
            assert dict(view.values()) == {"a": b"1"}

    run(test())


def test_a_block_that_cannot_be_read_ends_the_process_and_the_next_one_reads_anew(table: Table) -> None:
    async def test() -> None:
        await table.put(a=bytes(1_000_000), z=b"1")
        async with table.view():
            pass
        (largest,) = sorted(table.folder.glob("*.sst"), key=lambda file: file.stat().st_size)[-1:]
        with largest.open("r+b") as file:
            file.write(b"rubbish")
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-c", READ, table.settings.bootstrap_servers, table.name, table.folder
        )
        assert await asyncio.wait_for(reader.wait(), DEADLINE_S) == os.EX_SOFTWARE
        async with table.view() as view:
            assert view.get("a") == bytes(1_000_000)

    run(test())


READ = """
import asyncio, sys
from pathlib import Path
from topics.request.limits import MiB
from topics.settings import KafkaSettings
from topics.views.view import View

async def read(servers, topic, folder):
    view = View(KafkaSettings(bootstrap_servers=servers), topic, Path(folder))
    await view.start()
    await view.wait_caught_up()
    view.get("a")
    await view.close()

asyncio.run(read(*sys.argv[1:]))
"""


def tamper(folder: Path, key: bytes, value: bytes) -> None:
    from rocksdict import Options, Rdict

    db = Rdict(str(folder), Options(raw_mode=True))
    db[key] = value
    db.close()


def test_closing_a_view_that_finds_no_broker_does_not_hang(tmp_path: Path) -> None:
    async def test() -> None:
        view = View(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "table", tmp_path)
        await view.start()
        assert view.get("a") is None
        await asyncio.wait_for(view.close(), 5.0)  # well within what a whole system has to stop

    run(test())
