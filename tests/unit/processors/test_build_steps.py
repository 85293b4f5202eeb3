"""Steps of a build are published as they change, but not more often than clients can read."""

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from typing_extensions import override

from nix.progress import Step
from processors.build_steps import PERIOD_S, BuildStepPublisher, StepThrottle
from topics.dependencies.state import Build
from topics.dependencies.steps import BuildProgress, BuildStep
from topics.kafka.codec import Record
from topics.kafka.ports import Producer
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies

DEADLINE_S = 30.0
WORK = Build(
    id="d1",
    generation=1,
    attempt=3,
    dependencies=Dependencies(packages=("python3",)),
    package_set="debian",
    system="x86_64-linux",
    limits=DependenciesLimits(),
)


def fetching(done: int) -> Step:
    return Step("fetching", done, 55)


def test_the_first_step_is_due_at_once() -> None:
    throttle = StepThrottle(1.0)
    assert throttle.due_in_s(0.0) is None
    assert throttle.take(0.0) is None
    throttle.add(fetching(0))
    assert throttle.due_in_s(0.0) == 0.0
    assert throttle.take(0.0) == fetching(0)
    assert throttle.due_in_s(0.0) is None


def test_the_newest_step_of_a_period_is_due_at_its_end() -> None:
    throttle = StepThrottle(1.0)
    throttle.add(fetching(0))
    throttle.take(10.0)
    for done in range(1, 4):
        throttle.add(fetching(done))
        assert throttle.take(10.5) is None
    assert throttle.due_in_s(10.5) == 0.5
    assert throttle.take(11.0) == fetching(3)
    throttle.add(Step("building"))
    assert throttle.due_in_s(11.25) == 0.75
    assert throttle.due_in_s(60.0) == 0.0


def test_a_step_that_was_taken_is_not_due_again() -> None:
    throttle = StepThrottle(1.0)
    throttle.add(fetching(1))
    throttle.take(0.0)
    throttle.add(fetching(1))
    assert throttle.take(60.0) is None


class Topic(Producer):
    """Acknowledges each record at once, or, while it is held, never."""

    def __init__(self) -> None:
        self.published: asyncio.Queue[BuildProgress] = asyncio.Queue()
        self.held: list[asyncio.Future[Message]] | None = None
        self.error: KafkaException | None = None

    @override
    def publish(self, record: Record, *, partition: int = -1) -> "asyncio.Future[Message]":
        assert (record.topic, record.key) == ("dependencies.steps", b"d1")
        self.published.put_nowait(BuildProgress.read(record.value or b""))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.held is not None:
            self.held.append(future)
        elif self.error:
            future.set_exception(self.error)
        else:
            future.set_result(None)
        return future

    @override
    def produce(self, record: Record, *, partition: int = -1) -> object:
        raise NotImplementedError

    async def next(self) -> BuildProgress:
        return await asyncio.wait_for(self.published.get(), DEADLINE_S)


def reached(step: Step) -> BuildProgress:
    own = BuildStep(stage=step.stage, done=step.done, total=step.total)
    return BuildProgress(attempt=3, builder="b", step=own)


def publisher(topic: Topic) -> BuildStepPublisher:
    return BuildStepPublisher(topic, "dependencies.steps", "b")


def test_a_stage_that_lasts_is_published_after_a_burst() -> None:
    async def scenario() -> list[BuildProgress]:
        topic = Topic()
        with publisher(topic).of(WORK) as progress:
            for done in range(55):
                progress(fetching(done))
            progress(Step("building"))
            return [await topic.next(), await topic.next()]

    assert asyncio.run(scenario()) == [reached(fetching(0)), reached(Step("building"))]


def test_no_step_is_published_before_the_last_one_is_acknowledged_nor_after_the_end() -> None:
    async def scenario() -> None:
        topic = Topic()
        topic.held = []
        with publisher(topic).of(WORK) as progress:
            progress(fetching(1))
            assert await topic.next() == reached(fetching(1))
            progress(fetching(2))
            await asyncio.sleep(3 * PERIOD_S)
            assert topic.published.empty()
            held: list[Any] = topic.held
            held[0].set_result(None)
            assert await topic.next() == reached(fetching(2))
            progress(Step("publishing"))
        await asyncio.sleep(3 * PERIOD_S)
        assert topic.published.empty()
        with publisher(topic).of(WORK) as progress:
            pass
        progress(fetching(3))
        assert topic.published.empty()

    asyncio.run(scenario())


def test_a_step_that_kafka_refuses_does_not_end_the_build(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        topic = Topic()
        topic.error = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        with publisher(topic).of(WORK) as progress:
            progress(fetching(1))
            await topic.next()
            progress(fetching(2))
            assert await topic.next() == reached(fetching(2))

    asyncio.run(scenario())
    assert "a step of a build was not published" in caplog.text


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (BuildStep(stage="fetching", done=12, total=55), "fetching 12 of 55"),
        (BuildStep(stage="building"), "building"),
    ],
)
def test_a_step_in_words(step: BuildStep, words: str) -> None:
    assert str(step) == words
