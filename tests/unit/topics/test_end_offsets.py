"""End offsets that several tasks ask for while the broker goes away."""

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException

from topics.kafka import end_offsets
from topics.kafka.end_offsets import EndOffsets
from topics.settings import KafkaSettings


async def until(probe: Callable[[], bool]) -> None:
    while not probe():  # noqa: ASYNC110 - a thread of the default executor changes it
        await asyncio.sleep(0.001)


def test_a_client_outlives_the_requests_that_it_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real client that is garbage collected answers none, so the task would wait for ever."""
    clients: list[weakref.ref[Any]] = []
    requests: list[Future[Any]] = []

    class Client:
        def __init__(self, _: Any) -> None:
            clients.append(weakref.ref(self))

        def list_topics(self, name: str, _: float) -> Any:
            return SimpleNamespace(topics={name: SimpleNamespace(error=None, partitions={0: None})})

        def list_offsets(self, asked: Any, request_timeout: float) -> Any:
            requests.append(Future())
            return dict.fromkeys(asked, requests[-1])

    async def scenario() -> None:
        ends = EndOffsets(KafkaSettings(), "topic")
        first = asyncio.create_task(ends.ask())
        await until(lambda: len(requests) >= 1)
        late = [asyncio.create_task(ends.ask()) for _ in range(2)]
        await until(lambda: len(requests) >= 3)
        requests[0].set_result(SimpleNamespace(offset=1))
        assert await first == {0: 1}
        requests[1].set_exception(KafkaException("away"))
        await until(lambda: len(clients) >= 2)
        assert clients[0]() is not None
        requests[2].set_result(SimpleNamespace(offset=2))
        await until(lambda: len(requests) >= 4)
        requests[3].set_result(SimpleNamespace(offset=2))
        assert await asyncio.gather(*late) == [{0: 2}] * 2

    monkeypatch.setattr(end_offsets, "AdminClient", Client)
    asyncio.run(asyncio.wait_for(scenario(), 30))
