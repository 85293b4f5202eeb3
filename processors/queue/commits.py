"""Commits of a queue's offsets."""

import asyncio
import logging
from typing import Any

from confluent_kafka import KafkaException

from processors.queue.offsets import Offsets
from topics.kafka.ports import Consumer

log = logging.getLogger(__name__)

COMMIT_LINGER_S = 0.1
"""Time for which a commit of finished work waits for more, since each commit costs a request. Finished work
without a commit is redelivered after a crash."""


class OffsetCommitter:
    """Commits of everything that is settled, one request at a time."""

    def __init__(self, consumer: Consumer, offsets: Offsets[Any], queue: str) -> None:
        self._consumer, self._offsets, self._queue = consumer, offsets, queue
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    async def commit(self) -> None:
        """Return when a commit was tried that includes everything that is settled now.

        Unless it or a later one succeeds, the records are redelivered to another process (rule 3).
        """
        await asyncio.shield(self._begin())

    @property
    def is_committing(self) -> bool:
        """Whether a request is on its way, or waits for the client behind a poll."""
        return self._one_at_a_time.locked()

    def _begin(self) -> "asyncio.Task[None]":
        if self._next is None:
            self._next = asyncio.create_task(self._commit())
        return self._next

    async def _commit(self) -> None:
        async with self._one_at_a_time:
            self._next = None  # what is settled from now on needs another commit
            if not (offsets := self._offsets.committable()):
                return
            try:
                done = await self._consumer.commit(offsets)
            except KafkaException as error:
                log.warning("consuming %s: commit failed, redelivery is possible: %s", self._queue, error)
            else:
                self._offsets.committed(done)
            if self._offsets.committable():  # otherwise an idle process might never commit these
                asyncio.get_running_loop().call_later(COMMIT_LINGER_S, self._begin)


class CommitLinger:
    """Delay of commits that no attempt waits for.

    An optimisation: without this class a commit would follow each end. See `docs/performance.md`.
    """

    def __init__(self, committer: OffsetCommitter) -> None:
        self._committer = committer
        self._pending: asyncio.Task[None] | None = None

    def commit_soon(self) -> None:
        """Commit within `COMMIT_LINGER_S` what is settled then."""
        if self._pending is None:
            self._pending = asyncio.create_task(self._commit_later())

    async def _commit_later(self) -> None:
        await asyncio.sleep(COMMIT_LINGER_S)
        self._pending = None
        await self._committer.commit()
