"""Submissions that this node made, folded from a real log before any store processor has seen them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ingest.following import Following
from topics.acceptance import requested
from topics.admin import ensure_topics
from topics.catalogue import catalogue
from topics.clients import EventProducer
from topics.codec import Record, encode, encode_fact
from topics.journal import Journal
from topics.model import Model
from topics.request import parse_request
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Finished, Started
from topics.submissions.state import Submission
from topics.view import View

DEADLINE_S = 60.0


def a_request() -> Model:
    request, content_hash = parse_request(b'{"run": "true"}', 1024)
    return requested(request, content_hash, "debian-1", source="http")


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
        self._producer = EventProducer(settings)
        self.view = View(settings, family.store.name, folder / "view")
        self.following = Following(self.view)
        self._history = Journal(settings, family.events.name, folder / "history", taken=self.following.take)

    async def append(self, id: str, fact: Model) -> None:
        events = self.topics.submissions.events.name
        await self._producer.send(encode_fact(events, id, fact, FACTS, "test"))

    async def store(self, submission: Submission) -> None:
        store = self.topics.submissions.store.name
        await self._producer.send(Record(store, submission.id.encode(), encode(submission), []))

    async def final(self, id: str) -> Submission | None:
        await asyncio.wait_for(self.following.wait_final(id), DEADLINE_S)
        return self.following.get(id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Node"]:
        await self.view.start()
        self.following.start()
        await self._history.start()
        yield self
        await self._history.close()
        await self.view.close()
        await asyncio.to_thread(self._producer.close)


def never(_: bytes | None) -> bool:
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
            node.following.forget("mine")
            assert node.following.get("mine") is None

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
            node.following.forget("a")
            node.following.forget("b")

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


def test_a_view_that_has_overtaken_ends_it(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Node(kafka, topic_prefix, tmp_path).running() as node:
            node.following.follow("a", is_there)
            waiting = asyncio.create_task(node.final("a"))
            await node.store(Submission(id="a", status="queued", created_at="2026-01-01T00:00:00.000Z"))
            assert await asyncio.wait_for(waiting, DEADLINE_S) is None

    asyncio.run(scenario())
