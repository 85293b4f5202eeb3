"""Simulated ingest nodes: the shipped direct dispatch, around it what `ingest/submissions.py` does."""

import asyncio
from typing import TYPE_CHECKING, Any

from confluent_kafka import Message

from tests.simulator.client import MOST_UNFINISHED, draw
from tests.simulator.family import CATALOGUE
from tests.simulator.scheduler import Process
from tests.simulator.shells import run
from tests.simulator.virtual.follower import VirtualFollower
from tests.simulator.virtual.loop import VirtualLoop
from tests.simulator.virtual.producer import VirtualProducer
from topics.kafka.codec import decode_fact
from topics.kafka.fact_publisher import FactPublisher
from topics.submissions.facts import FACTS

if TYPE_CHECKING:
    from tests.simulator.world import World


def start_ingest(world: "World", process: Process) -> None:
    """Run a node whose clients leave the choice of ids to it."""
    loop = world.loop(process)
    run(world, loop, _Ingest(world, process, loop).run())


class _Ingest:
    def __init__(self, world: "World", process: Process, loop: VirtualLoop) -> None:
        self._world, self._process, self._loop = world, process, loop
        family, topics = world.submissions, CATALOGUE.submissions
        producer = VirtualProducer(loop, world.network)
        module = world.shipped.module("ingest.direct_dispatch")
        self._dispatch: Any = module.DirectDispatch(producer, topics, process.name)
        self._events = FactPublisher(producer, topics.events.name, FACTS, process.name)
        self._followers = (
            VirtualFollower(loop, world.network, [family.slots], self._dispatch.update, from_beginning=False),
            VirtualFollower(loop, world.network, family.events, self._fold, from_beginning=False),
        )

    async def run(self) -> None:
        for follower in self._followers:
            await follower.start()
        while not (self._process.stop.done or self._world.calm):
            await asyncio.sleep(self._world.random.random() * 2 * self._world.plan.submit_period_s)
            if len(self._world.unfinished()) <= MOST_UNFINISHED:
                self._accept(f"i{len(self._world.submitted)}")
        await self._dispatch.close()
        for follower in self._followers:
            await follower.close()

    def _accept(self, id: str) -> None:
        fact = draw(self._world, id)
        plan = self._dispatch.plan(id, fact)
        fact = fact.replace(dispatch="direct" if plan else self._world.random.choice(("turn", "turn", None)))
        self._world.submitted[id] = fact
        appended = self._events.publish(id, fact)
        if plan:
            self._dispatch.dispatch_after(appended, plan)
        appended.add_done_callback(lambda _: self._world.accepted.setdefault(id))

    def _fold(self, messages: list[Message]) -> None:
        truth = self._world.invariants.truth("submissions")
        for message in messages:
            recorded = decode_fact(message, FACTS)
            if state := truth.get(recorded.id):
                self._dispatch.note_event(recorded, state)
