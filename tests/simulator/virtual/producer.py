"""`Producer` of the ports: acknowledgements are late, and are lost with the process."""

import asyncio

from confluent_kafka import Message
from typing_extensions import override

from tests.simulator.network import Network
from tests.simulator.virtual.loop import VirtualLoop
from topics.kafka import ports
from topics.kafka.codec import Record


class VirtualProducer(ports.Producer):
    """A client of the process that `loop` belongs to."""

    def __init__(self, loop: VirtualLoop, network: Network) -> None:
        self._loop, self._network = loop, network

    @override
    def publish(self, record: Record, *, partition: int = -1) -> "asyncio.Future[Message]":
        return self._loop.answer(
            self._network.produce(
                self._loop.process,
                record.topic,
                record.key.encode() if isinstance(record.key, str) else record.key,
                record.value.encode() if isinstance(record.value, str) else record.value,
                record.headers,
                partition,
            )
        )

    @override
    def produce(self, record: Record, *, partition: int = -1) -> object:
        return self.publish(record, partition=partition)
