"""Shipped shells in simulated processes: their ports are virtual, everything else is what ships."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Message

from tests.simulator.family import Family
from tests.simulator.invariants import ViolationError
from tests.simulator.scheduler import Process
from tests.simulator.virtual.follower import VirtualFollower
from tests.simulator.virtual.loop import VirtualLoop
from tests.simulator.virtual.producer import VirtualProducer
from tests.simulator.virtual.reader import VirtualReader
from tests.simulator.virtual.transactional_producer import VirtualTransactionalProducer
from topics.kafka.ports import LoopClock

if TYPE_CHECKING:
    from tests.simulator.world import World


class AnyReplyTopic:
    """All topics for answers exist."""

    async def refusals(self, names: Collection[str]) -> Mapping[str, str]:
        return {}

    def look_again(self) -> None:
        pass


def start_store(world: "World", process: Process, family: Family, slot: int) -> None:
    """Run the shipped StoreProcessor; `slot` tells instances apart, across their restarts."""
    module, policies = (
        world.shipped.module(f"processors.store.{name}") for name in ("processor", "commit_policy")
    )
    loop, instance = world.loop(process), f"{family.store.name}-{slot}"
    network, make_consumer = world.network, world.protocol.store_consumer

    def follow_slots(take: Callable[[list[Message]], None]) -> VirtualFollower:
        return VirtualFollower(loop, network, [family.slots], take, from_beginning=False)

    ports = module.StorePorts(
        consumer=make_consumer(loop, network, family.store_group, family.events, instance=instance),
        producer=VirtualTransactionalProducer(loop, network, world.broker, family.coordinator, instance),
        reader=VirtualReader(
            loop, network, family.rows, {family.store.aggregate.family.events.name: family.events}
        ),
        replies=AnyReplyTopic(),
        clock=LoopClock(),
        make_states=lambda _: {},
        follow_slots=follow_slots if family.store.takes_turns else None,
        queue=VirtualProducer(loop, network) if family.store.takes_turns else None,
    )
    policy = policies.CommitPolicy(family.store.lingers_s, transaction_bytes=world.plan.transaction_bytes)
    processor = module.StoreProcessor(
        family.store, ports, len(family.queue), len(family.events), policy=policy
    )
    process.stop.when_done(processor.stop)
    run(world, loop, processor.run())


def run(world: "World", loop: VirtualLoop, main: Coroutine[Any, Any, object]) -> None:
    """Run a process, which ends with its main coroutine."""

    def ended(task: "asyncio.Task[object]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, KafkaException):
            raise ViolationError("", f"{loop.process.name} ended by {error!r}") from error
        world.scheduler.end(loop.process)

    loop.create_task(main).add_done_callback(ended)
