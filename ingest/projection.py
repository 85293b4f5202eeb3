"""The read model of submissions: each node's own fold of `submissions.events`, in one local table.

consumes  `submissions.events`, `submissions.store` (a new table starts with its rows)

The table is ahead of the store by one transaction. It is never behind what this node returned before, since a
state is written before it is returned. An event that this node appended is in it once its offset is folded.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from ingest import listing
from ingest.models import SubmissionPage
from ingest.submission_table import EVENTS, STORE, OnFolded, OnSettled, SubmissionTable
from topics.kafka.end_offsets import EndOffsets
from topics.kafka.records import RecordPosition, position
from topics.kafka.scan import committed_offsets, read_below, stored_ends
from topics.kafka.tail import Messages, Tail, TailConsumer
from topics.settings import KafkaSettings
from topics.submissions.state import Status, Submission
from topics.topic import Family
from topics.views.journal import JournalEntry
from topics.views.key_notifier import KeyNotifier
from topics.views.resuming import ANSWER_S, topic_id

log = logging.getLogger(__name__)

_DOUBTS = 3
"""Times that an empty store is doubted although events were folded. It is empty if no event could be read."""


class Projection:
    """States, events, lists and counts of submissions, as of the events that this node has folded.

    `get` and `ids` may be called from any thread, all other methods from the event loop of `start`.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        family: Family,
        directory: Path,
        *,
        consumer: TailConsumer,
        on_folded: OnFolded = lambda *_: None,
        on_opened: Callable[[Iterable[Submission]], None] = lambda _: None,
        on_settled: OnSettled = lambda *_: None,
    ) -> None:
        """Prepare a projection; `start` begins to read.

        No other instance uses `directory`. The thread of `consumer` calls `on_opened` with the queued
        submissions of the table, the oldest first, before it reads. Then it calls `on_folded` with each event
        that changed a state, and `on_settled` with each id whose state was corrected without an event.
        """
        self._on_opened = on_opened
        self._settings, self._family = settings, family
        self._table = SubmissionTable(directory, family.events.name, on_folded, on_settled)
        self._events = Tail(
            settings,
            family.events.name,
            self._fold,
            start_at=self._start_events,
            consumer=consumer,
            on_caught_up=self._on_caught_up,
        )
        self._store = Tail(
            settings, family.store.name, self._reconcile, start_at=self._start_store, consumer=consumer
        )
        self._event_ends = EndOffsets(settings, family.events.name)
        self._store_ends = EndOffsets(settings, family.store.name)
        self._notifier = KeyNotifier()
        self._readable = asyncio.Event()
        """Set unless the table is new and lacks events, so that a state could be older than one before."""
        self._offsets: Mapping[str, int] | None = None
        self._is_loaded = False
        self._folded: dict[int, int] = {}
        """Offset after the last folded event, by partition."""
        self._appending: Counter[tuple[str, str | None]] = Counter()
        """Ids and owners of requests that are on their way to the log and back."""

    async def start(self) -> None:
        """Open the table and read on from its offsets, or make it from the store."""
        self._loop = asyncio.get_running_loop()
        self._notifier.start()
        await self._events.start()
        await self._store.start()

    async def close(self) -> None:
        """Stop reading and close the table."""
        if await self._events.close():  # else its thread may still use the table
            self._table.rows.close()

    @property
    def caught_up(self) -> bool:
        """Whether all events and rows that existed at the start have been read."""
        return self._events.caught_up and self._store.caught_up

    @property
    def readable(self) -> bool:
        """Whether states and counts are no older than those that this node returned before."""
        return self._readable.is_set()

    async def wait_readable(self) -> None:
        """Return once states and counts may be used: see `readable`."""
        await self._readable.wait()

    # -- states ----------------------------------------------------------------------------------------

    def get(self, id: str) -> Submission | None:
        """Return the state after all folded events; None if there is none, or the table is still new."""
        return self._table.get(id) if self.readable else None

    def knows(self, id: str) -> bool:
        """Return whether `get` finds a submission, without reading all of it."""
        return self.readable and self._table.rows.summary(id.encode()) is not None

    def made_by(self, id: str, offset: int) -> Submission | None:
        """Return the state if the event at this offset made it, and no later event has changed it."""
        return self._table.made_by(id, offset) if self.readable else None

    async def wait(self, id: str, accept: Callable[[Submission], bool]) -> Submission:
        """Wait until `accept` returns True for the state of `id`, and return the state."""
        changed = asyncio.Event()
        with self.subscribe(id, changed):
            await self._readable.wait()
            while (state := self._table.get(id)) is None or not accept(state):
                await changed.wait()
                changed.clear()
            return state

    async def wait_for_offset(self, partition: int, offset: int) -> None:
        """Wait until the event at this offset of `submissions.events` is folded."""
        folded = asyncio.Event()
        with self._notifier.subscribe(RecordPosition(partition, offset), folded):
            await self._readable.wait()
            if self._folded.get(partition, 0) <= offset:
                await folded.wait()

    async def wait_for_end(self) -> None:
        """Wait until all events are folded that any node appended before this call."""
        await self._events.wait_read_to(await self._event_ends.ask())
        await self._readable.wait()

    async def list(self, query: listing.Query, owner: str | None) -> SubmissionPage:
        """Return the page that `query` selects, of submissions of `owner` only if given.

        Raises:
            BadCursorError: the cursor is not the `next` of any page.
        """
        await self._readable.wait()
        return await asyncio.to_thread(listing.page, self._table.rows, query, owner)

    def ids(self, status: Status) -> Sequence[str]:
        """Return the ids of all submissions with this status; read from disk."""
        return listing.ids(self._table.rows, status)

    # -- counts ----------------------------------------------------------------------------------------

    @contextmanager
    def appending(self, id: str, owner: str | None) -> Iterator[None]:
        """Count a request as unfinished while it is on its way to the log and back."""
        self._appending[id, owner] += 1
        try:
            yield
        finally:
            self._appending[id, owner] -= 1
            if not self._appending[id, owner]:
                del self._appending[id, owner]

    def unfinished(self, owner: str | None) -> int:
        """Return the number of unfinished submissions over HTTP of this owner; None is no API key."""
        return self._table.unfinished(owner) + sum(
            of == owner and not self._table.counts(id) for id, of in self._appending
        )

    def is_unfinished(self, id: str) -> bool:
        """Return whether a submission over HTTP has no end yet, or is on its way to the log."""
        return self._table.counts(id) or any(id == appending for appending, _ in self._appending)

    @property
    def unfinished_at_most(self) -> int:
        """Upper bound of `all_unfinished`, which costs little."""
        return self._table.all_unfinished + len(self._appending)

    @property
    def all_unfinished(self) -> int:
        """Number of unfinished submissions over HTTP."""
        return self._table.all_unfinished + sum(not self._table.counts(id) for id, _ in self._appending)

    async def events_lag(self) -> int:
        """Return the number of events that have not been folded yet; ask until the broker answers."""
        return self._events.behind(await self._event_ends.ask())

    async def store_lag(self) -> int:
        """Return the number of records of the store that have not been read; ask until the broker answers."""
        return self._store.behind(await self._store_ends.ask())

    # -- events ----------------------------------------------------------------------------------------

    def events(self, id: str, offset: int) -> Iterator[JournalEntry]:
        """Return the events of a submission from this offset on, in order."""
        return self._table.events(id, offset)

    def subscribe(self, id: str, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set `event` at each event of `id`, as `KeyNotifier.subscribe` does."""
        return self._notifier.subscribe(id, event)

    # -- the consumer's thread -------------------------------------------------------------------------

    def _start_events(self, consumer: Consumer, partitions: set[int]) -> Mapping[int, int]:
        """Open the table, and copy the store into a new one; return the offsets of the next events."""
        if self._offsets is None:
            self._offsets = self._open(consumer, partitions)
        if not self._is_loaded:  # the consumer calls this again after an error
            is_new = not self._offsets
            if is_new:
                self._offsets = self._seed(partitions)
            self._on_opened(filter(None, map(self._table.get, reversed(self.ids("queued")))))
            self._is_loaded = True
            if not is_new:
                self._loop.call_soon_threadsafe(self._readable.set)
        self._folded = _of(EVENTS, self._offsets)
        return self._folded

    def _open(self, consumer: Consumer, partitions: set[int]) -> Mapping[str, int]:
        """Open the table; return its offsets, which are empty if it is new."""
        topics = {EVENTS: self._family.events.name, STORE: self._family.store.name}
        bounds = {
            f"{name}/{p}": consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=ANSWER_S)
            for name, topic in topics.items()
            for p in partitions
        }

        def may_resume(offsets: Mapping[str, int]) -> bool:
            """Return whether the topics have all events and rows from these offsets on."""
            known = {name: offset for name, offset in offsets.items() if name in bounds}
            return all(
                offset <= bounds[name][1] and (name.startswith(STORE) or offset >= bounds[name][0])
                for name, offset in known.items()
            )

        # The ids differ for topics of the same name in another cluster, and for topics that were recreated.
        ids = [topic_id(self._settings, topic) for topic in topics.values()]
        identity = "/".join([*ids, str(len(partitions))])
        is_complete = not any(bounds[f"{EVENTS}/{p}"][0] for p in partitions)
        return self._table.open(identity, may_resume, is_complete=is_complete)

    def _start_store(self, _: Consumer, __: set[int]) -> Mapping[int, int]:
        return _of(STORE, self._offsets or {})

    def _seed(self, partitions: set[int]) -> Mapping[str, int]:
        """Copy the rows of the store: committed offsets, then the end of the store, then all below it."""
        started, store = time.monotonic(), self._family.store.name
        for _ in range(_DOUBTS):
            committed = committed_offsets(self._settings, self._family.store_group, self._family.events.name)
            ends = stored_ends(self._settings, store, partitions)
            if all(ends[p] > 0 or committed[p] == 0 for p in partitions):
                break
        offsets = {f"{STORE}/{p}": end for p, end in ends.items()}
        rows = self._table.seed(read_below(self._settings, store, ends), committed, offsets)
        log.info("ingest copied %d rows of %s in %.1f s", rows, store, time.monotonic() - started)
        return offsets

    def _fold(self, messages: Messages) -> None:
        ids = self._table.fold(messages)
        positions = list(map(position, messages))
        self._folded |= {partition: offset + 1 for partition, offset in positions}
        self._notifier.notify([*ids, *positions])

    def _reconcile(self, messages: Messages) -> None:
        self._notifier.notify(self._table.reconcile(messages))

    def _on_caught_up(self) -> None:
        self._notifier.notify(self._table.caught_up())
        self._loop.call_soon_threadsafe(self._readable.set)


def _of(kind: str, offsets: Mapping[str, int]) -> dict[int, int]:
    """Return the offsets of one topic by partition."""
    named = (name.partition("/") for name in offsets)
    return {int(p): offsets[f"{kind}/{p}"] for name, _, p in named if name == kind}
