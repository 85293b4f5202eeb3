"""Steps of builds, published while clients wait for the environment.

produces  steps on `dependencies.steps`

A build never waits for Kafka. A step is published only if Kafka has acknowledged the one before it, so one
step of each build is on its way at most. The newest step replaces those that were not published.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from confluent_kafka import Message

from nix.progress import Progress, Step
from topics.dependencies.state import Build
from topics.dependencies.steps import STEP, BuildProgress, BuildStep
from topics.kafka.codec import Record, cloud_event, encode, unique
from topics.kafka.ports import Producer

log = logging.getLogger(__name__)

PERIOD_S = 0.5
"""Shortest time between two published steps of one build."""


class StepThrottle:
    """Choice of the steps that are published: the newest one, at most one in each period. It is pure.

    The first step is due at once. A step that was added within a period is due at the end of the period, so
    each stage that lasts for a period is published.
    """

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._taken_s = -inf
        self._taken: Step | None = None
        self._newest: Step | None = None

    def add(self, step: Step) -> None:
        """Note the newest step."""
        self._newest = step

    def due_in_s(self, now_s: float) -> float | None:
        """Return the time until the newest step is due, 0 if it is; None if no step waits."""
        if self._newest == self._taken:
            return None
        return max(0.0, self._taken_s + self._period_s - now_s)

    def take(self, now_s: float) -> Step | None:
        """Return the newest step, which begins a new period; None if no step is due."""
        if self.due_in_s(now_s) != 0.0:
            return None
        self._taken_s, self._taken = now_s, self._newest
        return self._newest


class BuildStepPublisher:
    """Publisher of the steps of one cache builder process."""

    def __init__(self, producer: Producer, topic: str, builder: str) -> None:
        self._producer, self._topic, self._builder = producer, topic, builder

    @contextmanager
    def of(self, work: Build) -> Iterator[Progress]:
        """Yield a callback for the steps of one attempt; publish none after the context has ended."""
        steps = _AttemptSteps(lambda step: self._publish(work, step))
        try:
            yield steps.add
        finally:
            steps.close()

    def _publish(self, work: Build, step: Step) -> "asyncio.Future[Message]":
        log.info("building %s: %s", work.id, step)
        reached = BuildStep(stage=step.stage, done=step.done, total=step.total)
        progress = BuildProgress(attempt=work.attempt, builder=self._builder, step=reached)
        headers = cloud_event(STEP, unique(), work.id, f"cache-builder/{self._builder}")
        published = self._producer.publish(Record(self._topic, work.id.encode(), encode(progress), headers))
        published.add_done_callback(_log_failure)
        return published


class _AttemptSteps:
    """Steps of one attempt, of which those that are due are published."""

    def __init__(self, publish: Callable[[Step], "asyncio.Future[Message]"]) -> None:
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._throttle = StepThrottle()
        self._timer: asyncio.TimerHandle | None = None
        self._last: asyncio.Future[Message] | None = None
        self._is_closed = False

    def add(self, step: Step) -> None:
        """Publish the step now or later, unless another one comes before."""
        self._throttle.add(step)
        if self._timer is None and not self._is_closed:
            self._publish_due()

    def close(self) -> None:
        """Publish no further step, not even one that is added later."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _publish_due(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        if (due_in_s := self._throttle.due_in_s(now_s)) is None:
            return
        if self._last is not None and not self._last.done():
            due_in_s = PERIOD_S
        if due_in_s == 0.0 and (step := self._throttle.take(now_s)):
            self._last = self._publish(step)
        else:
            self._timer = self._loop.call_later(due_in_s, self._publish_due)


def _log_failure(published: "asyncio.Future[Message]") -> None:
    if not published.cancelled() and (error := published.exception()):
        log.warning("a step of a build was not published: %s", error)
