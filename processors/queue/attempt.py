"""One attempt that a process holds, as `Attempts` runs it and a `JobExecutor` sees it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, Protocol, TypeVar

from confluent_kafka import Message

from processors.queue.progress_buffer import ProgressBuffer
from processors.queue.slots import Slots
from topics.fold import ProgressFact, QueuedWork
from topics.model import Model

WorkT = TypeVar("WorkT", bound=QueuedWork)


class AttemptHost(Protocol):
    """Publication and slots of the process that holds an attempt."""

    @property
    def slots(self) -> Slots:
        """Slots of the process, of which a running attempt holds one or all."""
        ...

    def publish(self, id: str, *facts: Model) -> "asyncio.Future[Message]":
        """Append facts about `id` to the log; return the acknowledgement of the last."""
        ...

    def publish_progress(self, id: str, *facts: Model) -> None:
        """Append facts about `id` to the log, which no caller waits for."""
        ...

    def slots_may_have_changed(self) -> None:
        """Note that an attempt started or stopped waiting."""
        ...


class Attempt(Generic[WorkT]):
    """One attempt that this process holds."""

    def __init__(self, work: WorkT, host: AttemptHost, *, is_first_delivery: bool) -> None:
        self.work = work
        self.is_first_delivery = is_first_delivery
        """Whether no process can have started it before, so that it may run at once."""
        self.is_waiting = False
        """True while it waits for other processes, without a slot, so that another record can be consumed."""
        self.has_started = False
        """True once it had its slot, except while it waits for a turn that its executor gives. Attempts that
        have not started are handed back at once when this process stops."""
        self.end: asyncio.Future[Message] | None = None
        """Acknowledgement of its end, None until `complete`."""
        self.started: asyncio.Future[Message] | None = None
        """Acknowledgement of `Started`; None if it is published with other facts of progress."""
        self.execution: asyncio.Task[None]
        """The executor's task, which may be cancelled."""
        self._host = host
        self._allowed = asyncio.Event()
        self._progress = ProgressBuffer(self._publish_progress)

    @property
    def may_run(self) -> bool:
        """Whether lease and commit are acknowledged, or Kafka redelivers it after a crash."""
        return self._allowed.is_set()

    def allow_run(self) -> None:
        """Permit the attempt to run."""
        self._allowed.set()

    async def wait_until_allowed(self) -> None:
        """Wait for `may_run`. Work before this call is preparation without effects outside this process."""
        await self._allowed.wait()

    def publish(self, fact: ProgressFact) -> None:
        """Publish a fact of progress, or buffer it for a moment."""
        self._progress.add(fact)

    def complete(self, fact: Model) -> None:
        """Publish the end with all buffered facts; only the first call has an effect."""
        if self.end is None:
            self.end = self._host.publish(self.work.id, *self._progress.take(), fact)

    def buffer(self) -> None:
        """Buffer facts of progress, since most attempts are over before these matter."""
        self._progress.hold()

    def flush(self) -> None:
        """Publish buffered facts of progress."""
        self._progress.flush()

    def discard(self) -> None:
        """Drop buffered facts of progress: the attempt has no end, since its result is not needed."""
        self._progress.discard()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot within the context; if the work is exclusive, hold all of them."""
        async with self._host.slots.take(exclusive=self.work.alone):
            self.has_started = True
            yield

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Hold no slot within the context."""
        self.is_waiting = True
        self._host.slots_may_have_changed()
        try:
            yield
        finally:
            self.is_waiting = False

    def cancel(self) -> None:
        """Cancel the execution; the attempt ends without a result."""
        self.execution.cancel()

    def _publish_progress(self, *facts: Model) -> None:
        self._host.publish_progress(self.work.id, *facts)


class JobExecutor(Protocol[WorkT]):
    """Everything in which Worker and CacheBuilder differ: the work itself, and its facts."""

    def started(self, work: WorkT) -> ProgressFact:
        """Return the fact that this process started the attempt."""
        ...

    async def execute(self, attempt: Attempt[WorkT]) -> None:
        """Do the work and call `attempt.complete`; an exception is a host error.

        It may prepare before `attempt.wait_until_allowed`.
        """
        ...

    def handed_back(self, work: WorkT, reason: str, *, host_fault: bool) -> Model:
        """Return the fact that this process gives up the attempt, so that another process retries it."""
        ...

    def unpublishable(self, work: WorkT, reason: str) -> Model:
        """Return the end of work whose real end Kafka does not accept, such as one that is too large."""
        ...

    def is_cancelled(self, work: WorkT) -> bool:
        """Return whether the result of this attempt is not needed any more."""
        ...
