"""Submissions that this node made, folded from a real log before any store processor has seen them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from ingest.following import Following
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, connection
from topics.kafka.codec import Record, encode, encode_fact
from topics.model import Model
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS, Finished, Started
from topics.submissions.state import Submission
from topics.views.journal import Journal
from topics.views.view import View

DEADLINE_S = 60.0


def a_request(run: str = "true") -> Model:
    request, content_hash = parse_request(f'{{"run": "{run}"}}'.encode(), 1024)
    return make_requested(request, content_hash, "debian-1", source="http")


def finished(outcome: str = "ok") -> Finished:
    fact = {"attempt": 1, "worker": "w", "outcome": outcome, "dependencies": None, "compile": None, "run": ()}
    return Finished.model_validate(fact)


class Node:
    """An ingest node's log, view and Following; nothing else runs."""

    def __init__(self, kafka: str, topic_prefix: str, folder: Path) -> None:
        settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
        self.topics = catalogue(settings)
        family = self.topics.submissions
        ensure_topics(settings, (family.events, family.store))
        self.admin = AdminClient(connection(settings))
        self._producer = EventProducer(settings)
        self.view = View(
            settings, family.store.name, folder / "view", on_applied=lambda rows: self.following.rows(rows)
        )
        self.following = Following(self.view)
        self.history = Journal(
            settings, family.events.name, folder / "history", on_applied=self.following.take
        )

    async def append(self, id: str, fact: Model) -> int:
        events = self.topics.submissions.events.name
        return (await self._producer.send(encode_fact(events, id, fact, FACTS, "test"))).offset() or 0

    async def store(self, submission: Submission) -> None:
        store = self.topics.submissions.store.name
        await self._producer.send(Record(store, submission.id.encode(), encode(submission), []))

    async def final(self, id: str) -> Submission | None:
        await asyncio.wait_for(self.following.wait_final(id), DEADLINE_S)
        return self.following.get(id)

    def follow_if_new(self, id: str) -> bool:
        return self.following.follow_if_new(id, self.history, never, None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Node"]:
        await self.view.start()
        self.following.start()
        await self.history.start()
        await self.history.wait_caught_up()
        yield self
        await self.history.close()
        await self.view.close()
        await asyncio.to_thread(self._producer.close)


def never(_: bytes) -> bool:
    return False


def is_there(raw: bytes | None) -> bool:
    return raw is not None


def test_the_end_is_known_before_the_store_says_it(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            await node.append("before", a_request())
            node.following.follow("mine", never)
            for id in ("mine", "not-mine"):
                await node.append(id, a_request())
                await node.append(id, Started(attempt=1, worker="w"))
                await node.append(id, finished())
            end = await node.final("mine")
            assert end is not None
            assert (end.status, end.outcome, end.worker) == ("finished", "ok", "w")
            assert node.following.get("not-mine") is None

    asyncio.run(scenario())


def test_the_first_finished_wins_as_in_the_store(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            node.following.follow("a", never)
            node.following.follow("b", never)
            await node.append("a", a_request())
            await node.append("a", finished("run_failed"))
            await node.append("a", finished("ok"))
            await node.append("b", a_request())
            await node.append("b", finished())
            await node.final("b")  # so the events before it have arrived
            end = await node.final("a")
            assert end is not None
            assert end.outcome == "run_failed"

    asyncio.run(scenario())


def test_a_view_that_is_behind_takes_nothing_back(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            node.following.follow("a", is_there)
            await node.append("a", a_request())
            await node.append("a", finished())
            end = await node.final("a")
            assert end is not None
            await node.store(end.replace(status="queued", outcome=None, finished_at=None))
            await node.view.wait_for("a", is_there, DEADLINE_S)
            await asyncio.sleep(0)
            assert node.following.get("a") == end
            await node.store(end)
            await node.view.wait_for("a", lambda raw: b'"ok"' in (raw or b""), DEADLINE_S)
            await asyncio.sleep(0.1)  # those who waited for the same row before us were woken, too
            assert node.following.get("a") is None

    asyncio.run(scenario())


@pytest.mark.parametrize("until", [is_there, never])
def test_a_view_that_has_overtaken_ends_it(
    kafka: str, topic_prefix: str, tmp_path: Path, until: Callable[[bytes], bool]
) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            node.following.follow("a", until)
            waiting = asyncio.create_task(node.final("a"))
            await node.store(Submission(id="a", status="queued", created_at="2026-01-01T00:00:00.000Z"))
            assert await asyncio.wait_for(waiting, DEADLINE_S) is None

    asyncio.run(scenario())


def test_of_an_id_that_nobody_used_the_first_event_is_known(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            assert node.follow_if_new("a")
            await node.append("a", a_request("somebody else was quicker"))
            offset = await node.append("a", a_request("mine"))
            await asyncio.wait_for(node.following.wait_read_to("a", offset + 1), DEADLINE_S)
            first = node.following.get("a")
            assert first is not None
            assert first.request is not None
            assert first.request.run == "somebody else was quicker"

    asyncio.run(scenario())


def test_an_id_is_new_only_where_no_event_of_it_was_heard(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            await node.append("used", a_request())
            await node.history.reach(DEADLINE_S)
            assert not node.follow_if_new("used")
            assert node.follow_if_new("new")
            assert node.follow_if_new("new")
            node.following.forget("new")
            assert node.follow_if_new("new")
        async with Node(kafka, topic_prefix, tmp_path).running() as restarted:
            assert not restarted.follow_if_new("used")

    asyncio.run(scenario())


def test_what_was_told_of_an_id_of_others_is_not_taken_back_by_the_store(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            node.following.catch_up("a", node.history, is_there)
            assert node.following.get("a") is None
            await node.append("a", a_request())
            await node.append("a", Started(attempt=1, worker="w"))
            await node.history.reach(DEADLINE_S)
            node.following.catch_up("a", node.history, is_there)
            told = node.following.get("a")
            assert told is not None
            assert told.status == "started"
            await node.store(told.replace(status="queued"))
            await node.view.wait_for("a", is_there, DEADLINE_S)
            await asyncio.sleep(0)
            assert node.following.get("a") == told
            await node.append("a", finished())
            end = await node.final("a")
            assert end is not None
            assert end.outcome == "ok"

    asyncio.run(scenario())


def test_a_rejection_that_was_replaced_is_no_end(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            node.following.follow("a", is_there)
            at = await node.append("a", a_request())
            await asyncio.wait_for(node.following.wait_read_to("a", at + 1), DEADLINE_S)
            rejected = Submission(id="a", status="rejected", created_at="2026-01-01T00:00:00.000Z")
            await node.store(rejected)
            await node.view.wait_for("a", is_there, DEADLINE_S)
            await asyncio.sleep(0)
            following = node.following.get("a")
            assert following is not None
            assert following.status == "queued"

    asyncio.run(scenario())


def test_no_id_is_new_where_events_were_deleted(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path / "first").running() as node:
            await node.append("a", a_request())
            deleted = node.admin.delete_records([TopicPartition(node.topics.submissions.events.name, 0, 1)])
            for future in deleted.values():
                future.result(DEADLINE_S)
        async with Node(kafka, topic_prefix, tmp_path / "second").running() as later:
            assert not later.history.complete
            assert not later.follow_if_new("a")

    asyncio.run(scenario())


def test_what_exists_is_not_forgotten(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            assert node.follow_if_new("a")
            offset = await node.append("a", a_request())
            await asyncio.wait_for(node.following.wait_read_to("a", offset + 1), DEADLINE_S)
            node.following.forget("a")
            assert node.following.get("a") is not None

    asyncio.run(scenario())


def test_the_unfinished_are_known_before_the_store_shows_them(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            node.following.follow("a", never)
            await node.append("a", a_request())
            started = await node.append("a", Started(attempt=1, worker="w"))
            await asyncio.wait_for(node.following.wait_read_to("a", started + 1), DEADLINE_S)
            assert node.following.unfinished_beside_view() == 1
            await node.store(Submission(id="a", status="queued", created_at="2026-01-01T00:00:00.000Z"))
            await node.view.wait_for("a", is_there, DEADLINE_S)
            assert node.following.unfinished_beside_view_of(None) == 0
            await node.append("a", finished())
            await node.final("a")
            assert node.following.unfinished_beside_view_of(None) == -1
            assert node.following.unfinished_beside_view_of("somebody") == 0

    asyncio.run(scenario())
