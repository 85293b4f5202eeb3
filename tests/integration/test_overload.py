"""When HTTP answers 503, on a real log without a store processor."""

import asyncio
import json
from pathlib import Path

import pytest

from ingest.access import Caller
from ingest.problems import ProblemError
from ingest.settings import IngestSettings
from ingest.submissions import Submissions
from nix.registries.latest import LatestVersions
from nix.settings import NixSettings
from tests.support.submissions import finished, package_set
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.kafka.tail import TailConsumer
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS

DEADLINE_S = 60.0


async def started(settings: KafkaSettings, producer: EventProducer) -> Submissions:
    topics = catalogue(settings)
    await producer.publish(package_set(topics))
    submissions = Submissions(
        settings, topics, IngestSettings(), "0", TailConsumer(settings), LatestVersions(NixSettings())
    )
    await submissions.start()
    await submissions.package_sets.wait(DEADLINE_S)
    return submissions


def test_beyond_the_bound_a_503_says_when_to_come_again(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path, max_unfinished=3
    )
    topics = catalogue(settings)
    ensure_topics(settings, topics.topics())
    body = json.dumps({"run": "true"}).encode()

    async def scenario() -> None:
        producer = EventProducer(settings)
        submissions = await started(settings, producer)

        accepted = [await submissions.accept(body, Caller()) for _ in range(3)]
        with pytest.raises(ProblemError, match="3 submissions are unfinished") as refused:
            await submissions.accept(body, Caller())
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "2"})

        events = topics.submissions.events.name
        await producer.publish(encode_fact(events, accepted[0].id, finished(), FACTS, "test"))
        assert (await submissions.wait_final(accepted[0].id, DEADLINE_S, Caller())).final
        await submissions.accept(body, Caller())
        with pytest.raises(ProblemError):
            await submissions.accept(body, Caller())
        await submissions.close()
        await asyncio.to_thread(producer.close)

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))


def test_who_waits_while_the_server_stops_is_told_what_to_do(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path)
    ensure_topics(settings, catalogue(settings).topics())

    async def scenario() -> None:
        producer = EventProducer(settings)
        submissions = await started(settings, producer)
        await submissions.projection.close()  # so this node folds nothing more
        body = json.dumps({"id": "mine", "run": "true"}).encode()
        waiting = asyncio.create_task(submissions.accept(body, Caller()))
        await asyncio.wait([waiting], timeout=1)
        waiting.cancel()  # as the server does
        with pytest.raises(ProblemError, match="'mine' was accepted is unknown") as told:
            await waiting
        assert (told.value.status, told.value.headers) == (503, {"Retry-After": "2"})
        await submissions.close()
        await asyncio.to_thread(producer.close)

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))
