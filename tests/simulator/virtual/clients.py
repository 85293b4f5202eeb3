"""`Clients` of the ports, for a worker or a cache builder."""

from collections.abc import Callable, Mapping

from confluent_kafka import Message
from typing_extensions import override

from tests.simulator.broker import Broker
from tests.simulator.groups import Group
from tests.simulator.network import Network
from tests.simulator.virtual.consumer import VirtualConsumer
from tests.simulator.virtual.follower import VirtualFollower
from tests.simulator.virtual.loop import VirtualLoop
from topics.kafka import ports


class VirtualClients(ports.Clients):
    """The clients of the process that `loop` belongs to, whose queue is consumed in `group`."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        broker: Broker,
        group: Group,
        make_consumer: type[VirtualConsumer] = VirtualConsumer,
    ) -> None:
        self._loop, self._network, self._broker, self._group = loop, network, broker, group
        self._make_consumer = make_consumer

    @override
    def consumer(self, group: str, topic: str, options: Mapping[str, object] = {}) -> ports.Consumer:
        return self._make_consumer(self._loop, self._network, self._group, self._broker.topics[topic])

    @override
    def follow(
        self, topic: str, take: Callable[[list[Message]], None], *, from_beginning: bool
    ) -> VirtualFollower:
        logs = self._broker.topics[topic]
        return VirtualFollower(self._loop, self._network, logs, take, from_beginning=from_beginning)
