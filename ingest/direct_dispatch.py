"""Direct dispatch: this node enqueues attempt 1 of what it accepted, if a worker has a free slot for it.

    Requested acknowledged, or folded if the client made the id → record of the queue → a worker runs it

An optimisation: without this module the store processor enqueues every submission. `Requested` has
`dispatch="direct"` if its request handler will do so. The store processor enqueues an attempt after a few
seconds if no event shows that a worker has it. So this node may end, be too late or be refused after it
published `Requested`. See `docs/performance.md`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import KafkaException, Message

from topics.capacity import Choice, PeerCapacity
from topics.fold import QueuedWork, Recorded
from topics.kafka.codec import Record, cloud_event, encode
from topics.kafka.ports import Producer
from topics.leases import PreparedCounts
from topics.submissions.facts import Requested
from topics.submissions.fold import apply, enqueue
from topics.submissions.state import Submission
from topics.topic import Family

log = logging.getLogger(__name__)

MAX_AGE_S = 1.0
"""Age of a plan at which its work is left to the store processor, which has not enqueued it by then."""
SLOW_S = 0.25
"""Age of a record without acknowledgement at which this node plans nothing: the queue may have no leader."""
REFUSED_S = 60.0
"""Time for which this node plans nothing after the queue refused a record."""
_CLOSE_S = 1.0


class DispatchPlan(NamedTuple):
    """Work that this node enqueues once its `Requested` is acknowledged, or folded if the client made the id.

    It is not enqueued if the request is refused.
    """

    id: str
    work: QueuedWork
    to: Choice
    made_s: float


class DirectDispatch:
    """Free slots of workers, and the plans of this node. Called on the event loop, except `note`."""

    def __init__(self, producer: Producer, family: Family, source: str, others: Callable[[], int]) -> None:
        """Produce to the queue of `family`; `source` is the CloudEvents source of this node.

        `others` returns how many submissions wait that no ingest node dispatches. This node leaves a free
        slot to each of them.
        """
        self._others = others
        self._producer, self._queue, self._source = producer, family.queue.name, source
        self._capacity = PeerCapacity(until_reported=True)
        self._chosen: dict[str, Choice] = {}
        """Workers of the submissions that this node dispatches, until these end."""
        self._ended: deque[tuple[str, Choice]] = deque()
        """Ids whose work is over or does not come, and their workers."""
        self._appending: set[asyncio.Future[Message]] = set()
        self._unacknowledged: dict[asyncio.Future[Message], float] = {}
        """Records of the queue with the times at which they were produced, in this order."""
        self._refused_until_s = 0.0

    def update(self, messages: list[Message]) -> None:
        """Take free slots that workers published."""
        self._capacity.read(messages, _now_s())

    def prepared(self) -> PreparedCounts:
        """Return the use of prepared sandboxes of all workers since each started."""
        return self._capacity.prepared(_now_s())

    def note(self, state: Submission) -> None:
        """Take the state of a submission after an event; any thread may call it."""
        if state.final and (chosen := self._chosen.get(state.id)):
            self._ended.append((state.id, chosen))

    def plan(self, id: str, fact: Requested) -> DispatchPlan | None:
        """Return a plan if a worker has room for a new submission, beside those that wait for their turn.

        `fact` must then have `dispatch="direct"`. A plan is carried out by `dispatch_after` if no other
        request can have this id, else by `dispatch_if_accepted`, as a refused request must not run; or it is
        dropped.
        """
        now_s = _now_s()
        while self._ended:
            id_ended, choice = self._ended.popleft()
            if self._chosen.get(id_ended) is choice:  # else the id has another plan already
                del self._chosen[id_ended]
                self._capacity.release(choice)
        oldest_s = next(iter(self._unacknowledged.values()), now_s)
        if now_s < self._refused_until_s or now_s - oldest_s > SLOW_S:
            return None
        if (others := self._others()) and self._capacity.free(now_s) <= others:
            return None
        if id in self._chosen:  # the client repeats its request
            return None
        state = apply(None, Recorded(id, fact, 0)).state
        assert state is not None
        work = enqueue(state).work
        if (to := self._capacity.choose(now_s, work.memory_bytes)) is None:
            return None
        self._chosen[id] = to
        return DispatchPlan(id, work, to, now_s)

    def dispatch_after(self, appended: "asyncio.Future[Message]", plan: DispatchPlan) -> None:
        """Carry out a plan once its `Requested` is acknowledged; drop it if the future is cancelled."""
        self._appending.add(appended)
        appended.add_done_callback(lambda done: self._dispatch(plan, done))

    def dispatch_if_accepted(self, plan: DispatchPlan, event: Message, state: Submission | None) -> None:
        """Carry out a plan if its `Requested` was accepted, and no event shows that it is not needed.

        `event` is the acknowledged `Requested`; `state` is what it made, or None if it was refused or a later
        event has changed the state.
        """
        if state and state.owed == "direct":
            self._enqueue(plan._replace(work=enqueue(state).work), event)
        else:
            self.drop(plan)

    def drop(self, plan: DispatchPlan) -> None:
        """Do not count the slot of a plan as taken any more."""
        self._ended.append((plan.id, plan.to))

    async def close(self) -> None:
        """Carry out the plans whose `Requested` is acknowledged soon."""
        if self._appending:
            await asyncio.wait(self._appending, timeout=_CLOSE_S)
            await asyncio.sleep(0)

    def _dispatch(self, plan: DispatchPlan, appended: "asyncio.Future[Message]") -> None:
        self._appending.discard(appended)
        if appended.cancelled() or appended.exception() is not None:
            self.drop(plan)
        else:
            self._enqueue(plan, appended.result())

    def _enqueue(self, plan: DispatchPlan, event: Message) -> None:
        if _now_s() - plan.made_s <= MAX_AGE_S:
            ce_id = f"{event.topic()}/{event.partition()}/{event.offset()}"
            headers = cloud_event("envicutor.submission.enqueued.v1", ce_id, plan.id, self._source)
            record = Record(self._queue, plan.id.encode(), encode(plan.work), headers)
            produced = self._producer.publish(record, partition=plan.to.partition)
            self._unacknowledged[produced] = _now_s()
            produced.add_done_callback(self._acknowledged)

    def _acknowledged(self, produced: "asyncio.Future[Message]") -> None:
        del self._unacknowledged[produced]
        error = None if produced.cancelled() else produced.exception()
        if isinstance(error, KafkaException):
            self._refused_until_s = _now_s() + REFUSED_S
            log.warning("%s refused work, which the store processor enqueues: %s", self._queue, error)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
