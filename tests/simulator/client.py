"""Mirrors `ingest/submissions.py` and its users: submissions, repeated ones, conflicts, cancellations."""

from functools import lru_cache
from typing import TYPE_CHECKING

from tests.simulator.scheduler import Future, Process, Wait
from topics.request.errors import FieldError
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import Cancelled, Rejected, Requested

if TYPE_CHECKING:
    from tests.simulator.world import World

ENDLESS = 1_000_000
ACKNOWLEDGE_TIMEOUT_S = 5.0
MOST_UNFINISHED = 30


class Client:
    """One process that submits, over HTTP (it gives up waiting) and Kafka (it never does)."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world, self._process = world, process

    def run(self) -> Wait:
        """Submit until stopped."""
        random = self._world.random
        while not self._process.stop.done and not self._world.calm:
            yield random.random() * 2 * self._world.plan.submit_period_s
            if len(self._world.unfinished()) > MOST_UNFINISHED:
                continue
            known = list(self._world.invariants.truth("submissions"))
            chance = random.random()
            if chance < 0.8 or not known:
                yield from self._submit(f"s{len(self._world.submitted)}")
            elif chance < 0.88:
                id = random.choice(known[-20:])
                self._say(id, self._world.submitted[id])
            elif chance < 0.92:
                id = random.choice(known[-20:])
                self._say(id, self._world.submitted[id].replace(content_hash="other", source="kafka"))
            else:
                id = random.choice(known[-5:])
                self._world.cancelled.add(id)
                self._say(id, Cancelled())
        self._world.scheduler.end(self._process)

    def _submit(self, id: str) -> Wait:
        self._world.submitted[id] = fact = draw(self._world, id)
        if self._world.random.random() < 0.05:
            self._say(id, Rejected(errors=(FieldError(field="run", message="is missing"),)))
        acknowledged = self._say(id, fact)
        yield from self._until(acknowledged, ACKNOWLEDGE_TIMEOUT_S)
        if not acknowledged.done:  # a 503: unknown; the same request with the same id is safe
            acknowledged = self._say(id, fact)
            yield acknowledged
        self._world.accepted[id] = None

    def _say(self, id: str, fact: Requested | Cancelled | Rejected) -> Future:
        return self._world.submissions.say(self._process, id, fact)

    def _until(self, future: Future, timeout_s: float) -> Wait:
        deadline_s = self._world.scheduler.now_s + timeout_s
        while not future.done and self._world.scheduler.now_s < deadline_s:
            yield 0.01


def draw(world: "World", id: str) -> Requested:
    """Any request, poison at times."""
    random, plan = world.random, world.plan
    poison = random.random() < plan.poison_chance
    if poison:
        world.poison.add(id)
    allowed = random.choice((1, 2, 3)) if poison or random.random() < 0.2 else ENDLESS
    return new(random.randrange(plan.environments)).replace(
        allowed_attempts=allowed,
        allowed_host_faults=10 if poison else ENDLESS,
        dispatch="turn" if plan.turns else None,
        owner=random.choice(("a", "b")),
        interactive=random.random() < 0.5,
    )


@lru_cache
def new(environment: int) -> Requested:
    """A request with one of a few environments; every fourth of these cannot be built."""
    wrong = environment % 4 == 3
    dependencies = f'{{"nix": "wrong {environment}"}}' if wrong else f'{{"packages": ["p{environment}"]}}'
    raw = f'{{"run": "true", "dependencies": {dependencies}, "callback_url": "http://hooks.test/"}}'.encode()
    return make_requested(*parse_request(raw, MiB, ["hooks.test:80"]), "pin", source="http")
