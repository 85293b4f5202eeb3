"""Publication of facts to the log of one aggregate."""

import asyncio
from collections.abc import Mapping, Sequence

from confluent_kafka import Message

from topics.kafka.codec import Headers, encode_fact
from topics.kafka.ports import Producer
from topics.model import Model


class FactPublisher:
    """Publisher of one process, for one topic `X.events`."""

    def __init__(
        self, producer: Producer, events: str, facts: Mapping[str, type[Model]], source: str
    ) -> None:
        """Publish facts of the types `facts` to the topic `events`.

        `source` is the CloudEvents source of this process, such as `worker/7f3a`.
        """
        self._producer, self._events, self._facts, self._source = producer, events, facts, source

    def publish(
        self, id: str, fact: Model, extra_headers: Headers | None = None
    ) -> "asyncio.Future[Message]":
        """Append a fact about `id`; return the broker's acknowledgement, with offset and append time.

        The future has a KafkaException if the record cannot be delivered.
        """
        return self._producer.publish(
            encode_fact(self._events, id, fact, self._facts, self._source, extra_headers)
        )

    def publish_together(self, id: str, facts: Sequence[Model]) -> "asyncio.Future[Message]":
        """Append facts about `id`; return the acknowledgement of the last.

        All facts are encoded before the first is produced, so that the client mostly sends them in one
        request: it waits some 20 microseconds for more.
        """
        *before, last = [encode_fact(self._events, id, fact, self._facts, self._source) for fact in facts]
        for record in before:
            self._producer.produce(record)
        return self._producer.publish(last)

    def produce(self, id: str, fact: Model) -> None:
        """Append a fact about `id`, whose acknowledgement no caller waits for."""
        self._producer.produce(encode_fact(self._events, id, fact, self._facts, self._source))
