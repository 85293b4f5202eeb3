"""Simulated ingest nodes: the shipped direct dispatch, around it what `ingest/submissions.py` does."""

import asyncio
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from confluent_kafka import Message

from ingest.waiting import WaitingSubmissions
from tests.simulator.client import MOST_UNFINISHED, draw, new
from tests.simulator.family import CATALOGUE
from tests.simulator.scheduler import Process
from tests.simulator.shells import run
from tests.simulator.virtual.follower import VirtualFollower
from tests.simulator.virtual.loop import VirtualLoop
from tests.simulator.virtual.producer import VirtualProducer
from topics.kafka.codec import decode_fact
from topics.kafka.fact_publisher import FactPublisher
from topics.submissions.facts import FACTS, Requested
from topics.submissions.fold import apply

_REPEATED, _SAME = 0.4, 0.5
"""Share of requests with an id of the client that use it again, and of these with the same content."""
_RECENT = 10
_OTHERS = 3
"""Environments of requests with other content."""

if TYPE_CHECKING:
    from tests.simulator.world import World


def start_ingest(world: "World", process: Process) -> None:
    """Run a node whose clients choose some ids, which they may use again and at other nodes."""
    loop = world.loop(process)
    run(world, loop, _Ingest(world, process, loop).run())


class _Ingest:
    def __init__(self, world: "World", process: Process, loop: VirtualLoop) -> None:
        self._world, self._process, self._loop = world, process, loop
        family, topics = world.submissions, CATALOGUE.submissions
        producer = VirtualProducer(loop, world.network)
        module = world.shipped.module("ingest.direct_dispatch")
        self._dispatch: Any = module.DirectDispatch(producer, topics, process.name, self._others)
        self._events = FactPublisher(producer, topics.events.name, FACTS, process.name)
        self._followers = (
            VirtualFollower(loop, world.network, [family.slots], self._dispatch.update, from_beginning=False),
            VirtualFollower(loop, world.network, family.events, self._fold, from_beginning=False),
        )

        self._states = dict(world.invariants.truth("submissions"))
        """States after all events that this node has folded."""
        self._waiting = WaitingSubmissions()
        queued = (state for state in self._states.values() if state.status == "queued")
        self._waiting.load(queued, round(loop.time() * 1000))
        self._last: dict[str, tuple[int, int]] = {}
        """Position of the last event that changed a state, by id."""
        self._folded: dict[int, int] = {}
        """Offset of the last folded event, by partition."""
        self._more = asyncio.Event()

    async def run(self) -> None:
        for follower in self._followers:
            await follower.start()
        while not (self._process.stop.done or self._world.calm):
            await asyncio.sleep(self._world.random.random() * 2 * self._world.plan.submit_period_s)
            if len(self._world.unfinished()) <= MOST_UNFINISHED:
                named_chance = self._world.plan.named_chance
                if named_chance and self._world.random.random() < named_chance:
                    self._loop.create_task(self._accept_named())
                else:
                    self._accept(f"i{len(self._world.submitted)}")
        await self._dispatch.close()
        for follower in self._followers:
            await follower.close()

    def _others(self) -> int:
        return self._waiting.undispatched

    def _accept(self, id: str) -> None:
        fact = draw(self._world, id)
        plan = self._dispatch.plan(id, fact)
        fact = fact.replace(dispatch="direct" if plan else self._world.random.choice(("turn", "turn", None)))
        self._world.submitted[id] = fact
        appended = self._events.publish(id, fact)
        if plan:
            self._dispatch.dispatch_after(appended, plan)
        appended.add_done_callback(lambda _: self._world.accepted.setdefault(id))

    async def _accept_named(self) -> None:
        random, submitted = self._world.random, self._world.submitted
        used = [id for id in islice(reversed(submitted), _RECENT) if id.startswith("n")]
        if used and random.random() < _REPEATED:
            id = random.choice(used)
            fact = submitted[id] if random.random() < _SAME else _other_content(submitted[id], random)
        else:
            id = f"n{len(submitted)}"
            fact = submitted[id] = draw(self._world, id)
        plan = self._dispatch.plan(id, fact)
        fact = fact.replace(dispatch="direct" if plan else random.choice(("turn", "turn", None)))
        event = await self._events.publish(id, fact)
        self._world.accepted.setdefault(id)
        position = (event.partition() or 0, event.offset() or 0)
        while self._folded.get(position[0], -1) < position[1]:
            self._more.clear()
            await self._more.wait()
        if plan:
            made_it = self._last.get(id) == position
            self._dispatch.dispatch_if_accepted(plan, event, self._states[id] if made_it else None)

    def _fold(self, messages: list[Message]) -> None:
        for message in messages:
            recorded = decode_fact(message, FACTS)
            folded = apply(self._states.get(recorded.id), recorded)
            if folded.state and folded.refused is None:
                self._states[recorded.id] = folded.state
                self._last[recorded.id] = (message.partition() or 0, message.offset() or 0)
                self._waiting.note(recorded, folded.state)
                self._dispatch.note(folded.state)
            self._folded[message.partition() or 0] = message.offset() or 0
        self._more.set()


def _other_content(fact: Requested, random: Random) -> Requested:
    other = new(random.randrange(_OTHERS))
    return fact.replace(content_hash="other", dependencies_id=other.dependencies_id, request=other.request)
