"""The read model of an ingest node, on a real log; no store processor runs unless a test plays it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from rocksdict import Options, Rdict

from ingest import projection
from ingest.listing import Query
from ingest.projection import Projection
from ingest.submission_table import StateRow
from tests.support.submissions import STARTED, finished, request
from topics.catalogue import catalogue
from topics.fold import Recorded
from topics.kafka import scan
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, connection
from topics.kafka.codec import Headers, Record, cloud_event, encode, encode_fact
from topics.kafka.tail import TailConsumer
from topics.model import Model
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Cancelled, LeaseExpired, Rejected
from topics.submissions.fold import apply
from topics.submissions.state import Submission

DEADLINE_S = 60.0


class World:
    """The topics of submissions, and the nodes that read them."""

    def __init__(self, kafka: str, topic_prefix: str, folder: Path) -> None:
        self.settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
        self.family = catalogue(self.settings).submissions
        self.folder = folder
        ensure_topics(self.settings, (self.family.events, self.family.store))
        self._admin = AdminClient(connection(self.settings))
        self._producer = EventProducer(self.settings)

    async def append(self, id: str, fact: Model) -> int:
        record = encode_fact(self.family.events.name, id, fact, FACTS, "test")
        return (await self._producer.publish(record)).offset() or 0

    async def append_all(self, id: str, *facts: Model) -> int:
        return [await self.append(id, fact) for fact in facts][-1]

    async def store(self, id: str, row: Submission | bytes | None, offset: int | None = None) -> None:
        """As the store processor stores a row after the event at `offset`; None as a rebuild does."""
        event = "0123456789abcdef" if offset is None else f"{self.family.events.name}/0/{offset}"
        headers: Headers = cloud_event("envicutor.submission.stored.v1", event, id, "submission-store")
        value = encode(row) if isinstance(row, Submission) else row
        await self._producer.publish(Record(self.family.store.name, id, value, headers))

    def commit(self, offset: int) -> None:
        """As the store processor commits."""
        group = self.settings.topic_prefix + self.family.store_group
        at = ConsumerGroupTopicPartitions(group, [TopicPartition(self.family.events.name, 0, offset)])
        self._admin.alter_consumer_group_offsets([at])[group].result(DEADLINE_S)

    def delete_events(self, before: int) -> None:
        where = TopicPartition(self.family.events.name, 0, before)
        for deleted in self._admin.delete_records([where]).values():
            deleted.result(DEADLINE_S)

    @asynccontextmanager
    async def node(self, name: str = "node", *, is_ready: bool = True) -> AsyncIterator[Projection]:
        consumer = TailConsumer(self.settings)
        node = Projection(self.settings, self.family, self.folder / name, consumer=consumer)
        await node.start()
        try:
            if is_ready:
                await asyncio.wait_for(node.wait_for_end(), DEADLINE_S)
                await until(lambda: node.caught_up)
            yield node
        finally:
            await node.close()

    def rows(self, name: str = "node") -> Rdict:
        """The closed table of a node."""
        return Rdict(str(self.folder / name), Options(raw_mode=True))

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def world(kafka: str, topic_prefix: str, tmp_path: Path) -> Any:
    world = World(kafka, topic_prefix, tmp_path)
    yield world
    world.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 3 * DEADLINE_S))


async def until(probe: Callable[[], bool]) -> None:
    """Wait until `probe` is true at a turn of the event loop."""
    async with asyncio.timeout(DEADLINE_S):
        while not probe():  # noqa: ASYNC110 - an event would miss states in between
            await asyncio.sleep(0)


def folded(id: str, *facts: Any) -> Submission:
    state: Submission | None = None
    for fact in facts:
        state = apply(state, Recorded(id, fact, 1_800_000_000_000)).state
    assert state is not None
    return state


def status(node: Projection, id: str) -> str | None:
    state = node.get(id)
    return None if state is None else state.status


def another() -> Model:
    return request(b'{"run": "false"}')


def test_what_was_appended_is_read_once_its_offset_is_folded(world: World) -> None:
    async def scenario() -> None:
        async with world.node() as node:
            assert node.get("a") is None
            for fact, expected in ((request(), "queued"), (STARTED, "started"), (finished(), "finished")):
                await node.wait_for_offset(0, await world.append("a", fact))
                assert status(node, "a") == expected
            await asyncio.wait_for(node.wait_for_offset(0, 0), DEADLINE_S)

    run(scenario())


def test_a_waiting_task_gets_the_end_which_the_first_finished_decides(world: World) -> None:
    async def scenario() -> None:
        async with world.node() as node:
            waiting = asyncio.create_task(node.wait("a", lambda state: state.final))
            await world.append_all("a", request(), finished(outcome="run_failed"), finished())
            end = await waiting
            assert (end.status, end.outcome) == ("finished", "run_failed")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(node.wait("none", lambda _: True), 0.05)

    run(scenario())


def test_of_two_requests_with_one_id_the_first_one_on_the_log_wins(world: World) -> None:
    async def scenario() -> None:
        async with world.node() as node, world.node("other") as other:
            await world.append("a", another())
            last = await world.append("a", request())
            for one in (node, other):
                await one.wait_for_offset(0, last)
                first = one.get("a")
                assert first is not None
                assert first.request is not None
                assert first.request.run == "false"
            await world.append("b", Rejected(errors=()))
            await node.wait_for_offset(0, await world.append("b", request()))
            assert status(node, "b") == "queued", "a rejected id may be used again"

    run(scenario())


@pytest.mark.parametrize("value", [b"no JSON", b"{}"])
def test_what_cannot_be_read_changes_nothing(world: World, value: bytes) -> None:
    async def scenario() -> None:
        async with world.node() as node:
            await world.append("a", request())
            headers = cloud_event("envicutor.submission.finished.v1", "1", "a", "test")
            for key in (b"a", b"\xff", None):
                await world._producer.publish(Record(world.family.events.name, key, value, headers))
            await node.wait_for_offset(0, await world.append("a", STARTED))
            assert status(node, "a") == "started"
            assert [entry.offset for entry in node.events("a", 1)] == [1, 4]

    run(scenario())


def test_rows_of_the_store_take_nothing_back_and_add_nothing(world: World) -> None:
    """The store is behind the log, and a node may read it before or after the events."""

    async def scenario() -> None:
        async with world.node() as node:
            last = await world.append_all("a", request(), finished())
            await node.wait_for_offset(0, last)
            await world.store("a", folded("a", request()), offset=0)
            await world.store("later", folded("later", request()), offset=100)
            await world.store("seen", folded("seen", request()))
            await asyncio.wait_for(node.wait("seen", lambda _: True), DEADLINE_S)
            assert status(node, "a") == "finished"
            assert node.get("later") is None, "its event comes"

    run(scenario())


def test_a_restart_reads_nothing_twice_and_knows_all(world: World) -> None:
    async def scenario() -> None:
        async with world.node() as node:
            await node.wait_for_offset(0, await world.append_all("a", request(source="http"), STARTED))
        db = world.rows()
        kept = StateRow.read(db[b"=a"] or b"")
        db[b"=a"] = kept._replace(state=kept.state.replace(worker="kept")).change().value
        db.close()
        last = await world.append("b", request(source="http"))
        async with world.node() as node:
            await node.wait_for_offset(0, last)
            states = [node.get(id) for id in ("a", "b")]
            assert [state and state.worker for state in states] == ["kept", None]
            assert node.all_unfinished == node.unfinished(None) == 2

    run(scenario())


def test_a_new_table_shows_no_state_that_is_older_than_one_before(world: World) -> None:
    async def scenario() -> None:
        last = await world.append_all("a", request(), STARTED, *[finished()] * 500)
        await world.store("a", folded("a", request()), offset=0)
        world.commit(1)
        async with world.node() as node:
            await node.wait_for_offset(0, last)
            assert status(node, "a") == "finished"
        shutil.rmtree(world.folder / "node")
        async with world.node(is_ready=False) as node:
            await until(lambda: node.get("a") is not None)
            assert status(node, "a") == "finished"

    run(scenario())


@pytest.mark.parametrize("files", ["CURRENT", "*.sst"])
def test_a_broken_table_is_recreated(world: World, files: str) -> None:
    async def scenario() -> None:
        await world.append_all("a", request(), finished())
        async with world.node():
            pass
        for file in (world.folder / "node").glob(files):
            file.write_bytes(b"rubbish")
        async with world.node() as node:
            assert status(node, "a") == "finished"
            assert len(list(node.events("a", 0))) == 2

    run(scenario())


def test_without_the_beginning_of_the_log_states_come_from_the_store(world: World) -> None:
    """The committed offset is 3; the row of `ahead` has the event at offset 4 already."""

    async def scenario() -> None:
        await world.append_all("a", request(), STARTED)
        await world.append("ahead", request())
        last = await world.append_all("ahead", STARTED, LeaseExpired(attempt=1, checker="c"), finished())
        await world.store("gone", folded("gone", request(), Cancelled()), offset=0)
        await world.store("a", folded("a", request(), STARTED), offset=1)
        expired = LeaseExpired(attempt=1, checker="c")
        await world.store("ahead", folded("ahead", request(), STARTED, expired), offset=4)
        await world.store("invented", folded("invented", request()))
        world.commit(3)
        world.delete_events(before=2)
        async with world.node() as node:
            assert [status(node, id) for id in ("gone", "a", "invented")] == [
                "cancelled",
                "started",
                "queued",
            ]
            ahead = node.get("ahead")
            assert ahead is not None
            assert (ahead.attempt, len(ahead.ended_attempts), ahead.status) == (2, 1, "queued")
            await node.wait_for_offset(0, last)
            await node.wait_for_offset(0, await world.append("a", finished()))
            assert status(node, "a") == "finished"

    run(scenario())


def test_a_table_is_made_again_if_the_store_could_not_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        last = await world.append("a", request())
        await world.append("a", STARTED)
        await world.store("a", folded("a", request()), last)
        world.commit(last + 1)
        world.delete_events(last + 1)
        ends, failures = scan.stored_ends, iter([KafkaException(KafkaError(KafkaError._TIMED_OUT))])

        def fail_once(*arguments: Any) -> dict[int, int]:
            for failure in failures:
                raise failure
            return ends(*arguments)

        monkeypatch.setattr(projection, "stored_ends", fail_once)
        async with world.node() as node:
            found = node.get("a")
            assert found
            assert found.status == "started"

    run(scenario())


def test_events_that_were_deleted_unread_are_replaced_by_the_store(world: World) -> None:
    async def scenario() -> None:
        await world.append("a", request())
        async with world.node():
            pass
        last = await world.append_all("a", STARTED, finished())
        await world.store("a", folded("a", request(), STARTED, finished()), offset=last)
        world.commit(last + 1)
        world.delete_events(before=last + 1)
        async with world.node() as node:
            assert status(node, "a") == "finished"

    run(scenario())


def test_rows_of_another_fold_and_rows_that_are_wrong_are_folded_from_the_log(world: World) -> None:
    async def scenario() -> None:
        last = await world.append_all("a", request(), STARTED)
        await world.append("b", request())
        await world.store("a", folded("a", request()).replace(fold_version=1), offset=last)
        await world.store("b", b"no JSON", offset=last + 1)
        world.commit(last + 2)
        async with world.node() as node:
            assert (status(node, "a"), status(node, "b")) == ("started", "queued")

    run(scenario())


def test_a_rebuild_corrects_what_a_table_has_from_the_store(world: World) -> None:
    async def scenario() -> None:
        last = await world.append_all("a", request(), finished())
        wrong = folded("a", request(), finished(outcome="run_failed"))
        await world.store("a", wrong, offset=last)
        await world.store("invented", wrong.replace(id="invented"), offset=last)
        world.commit(last + 1)
        async with world.node() as node:
            found = node.get("a")
            assert (found and found.outcome, status(node, "invented")) == ("run_failed", "finished")
            await world.store("a", folded("a", request(), finished()))
            await world.store("invented", None)
            await asyncio.wait_for(node.wait("a", lambda state: state.outcome == "ok"), DEADLINE_S)
            await until(lambda: node.get("invented") is None)
            listed = await node.list(Query(), None)
            assert [(one.id, one.outcome) for one in listed.submissions] == [("a", "ok")]

    run(scenario())


def test_quotas_count_on_every_node_those_on_their_way_included(world: World) -> None:
    async def scenario() -> None:
        mine = request(source="http").replace(owner="me")
        async with world.node() as node, world.node("other") as other:
            with node.appending("a", "me"), node.appending("b", "you"):
                assert (node.unfinished("me"), node.all_unfinished) == (1, 2)
                offset = await world.append("a", mine)
                await node.wait_for_offset(0, offset)
                assert (node.unfinished("me"), node.all_unfinished) == (1, 2)
            assert (node.unfinished("me"), node.unfinished("you"), node.all_unfinished) == (1, 0, 1)
            await other.wait_for_offset(0, offset)
            assert other.unfinished("me") == 1
            last = await world.append("a", finished())
            for one in (node, other):
                await one.wait_for_offset(0, last)
                assert (one.unfinished("me"), one.all_unfinished) == (0, 0)

    run(scenario())


def test_closing_a_node_that_finds_no_broker_does_not_hang(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
        family = catalogue(settings).submissions
        node = Projection(settings, family, tmp_path / "node", consumer=TailConsumer(settings))
        await node.start()
        assert node.get("a") is None
        await asyncio.wait_for(node.close(), 5.0)

    run(scenario())
