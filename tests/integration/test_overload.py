"""When HTTP answers 503 or 429, on a real log without a store processor."""

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
from topics.dependencies.state import EnvironmentState, unfinished_by_owner
from topics.disk import DiskWatch
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, encode, encode_fact
from topics.kafka.tail import TailConsumer
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS
from topics.submissions.state import Submission
from topics.views.view import View

DEADLINE_S = 60.0


def view_of_environments(settings: KafkaSettings) -> View:
    topic, folder = catalogue(settings).dependencies.store.name, settings.data_dir / "environments"
    return View(settings, topic, folder, status_of=unfinished_by_owner)


async def started(
    settings: KafkaSettings, producer: EventProducer, environments: View | None = None
) -> Submissions:
    topics = catalogue(settings)
    await producer.publish(package_set(topics))
    consumer = TailConsumer(settings)
    submissions = Submissions(
        settings,
        topics,
        IngestSettings(),
        "0",
        consumer,
        LatestVersions(NixSettings()),
        environments or view_of_environments(settings),
        DiskWatch({}),
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


def test_a_client_with_too_many_builds_waits_for_them_and_others_do_not(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path, max_unfinished_builds=2
    )
    topics = catalogue(settings)
    ensure_topics(settings, topics.topics())
    first, second = Caller(owner="first"), Caller(owner="second")

    def wanting(package: str) -> bytes:
        return json.dumps({"run": "true", "dependencies": {"packages": [package]}}).encode()

    async def scenario() -> None:
        producer, environments = EventProducer(settings), view_of_environments(settings)
        await environments.start()
        submissions = await started(settings, producer, environments)

        async def store(submission: Submission, status: str) -> None:
            assert submission.request
            row = EnvironmentState.model_validate(
                {
                    "id": submission.dependencies_id,
                    "status": status,
                    "owner": "key/first",
                    "requested_at_ms": 0,
                    "created_at": "t",
                    "dependencies": submission.request.environment,
                    "package_set": "pin",
                    "system": "s",
                    "limits": submission.request.limits.dependencies,
                }
            )
            record = Record(topics.dependencies.store.name, row.id, encode(row), [])
            await producer.publish(record)
            await environments.wait_for_end()

        one = await submissions.accept(wanting("gcc"), first)
        await submissions.accept(wanting("ghc"), first)
        with pytest.raises(ProblemError, match="2 environments are requested") as refused:
            await submissions.accept(wanting("go"), first)
        assert (refused.value.status, refused.value.kind) == (429, "too-many-builds")
        assert refused.value.headers == {"Retry-After": "2"}
        assert [(error.field, error.limit) for error in refused.value.errors] == [("dependencies", 2)]

        await submissions.accept(wanting("ghc"), first)
        await submissions.accept(wanting("go"), second)
        await store(one, "started")
        with pytest.raises(ProblemError, match="2 environments are requested"):
            await submissions.accept(wanting("ocaml"), first)
        await store(one, "installed")
        await submissions.accept(wanting("ocaml"), first)
        await submissions.close()
        await environments.close()
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
