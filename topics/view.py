"""A compacted topic as a local table, so that a look-up needs no network and a restart resumes."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from confluent_kafka import Consumer, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from topics.clients import connection
from topics.settings import KafkaSettings
from topics.table import Change, Table
from topics.tail import Tail

_STALE_AFTER_S = 12 * 3600.0
"""Half of Kafka's default `delete.retention.ms`: an older table could have missed a tombstone."""
_ANSWER_S = 10.0


class View:
    """Reads one compacted topic in a thread of its own; answers look-ups from the local table.

    The directory belongs to this instance alone. `get` may be called from any thread, the `async`
    methods from the event loop that `start` was called on.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        directory: Path,
        *,
        flag: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`flagged` counts the rows for which `flag` is true."""
        self._settings, self._topic = settings, topic
        self._table = Table(directory, flag)
        self._tail = Tail(settings, topic, self._take, start_at=self._open)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def start(self) -> None:
        """Open the table and go on reading where it stands."""
        self._loop = asyncio.get_running_loop()
        await self._tail.start()

    @property
    def caught_up(self) -> bool:
        """Whether everything that was on the topic at the start has been read."""
        return self._tail.caught_up

    async def wait_caught_up(self) -> None:
        """Wait for `caught_up`."""
        await self._tail.wait_caught_up()

    @property
    def flagged(self) -> int:
        """How many rows `flag` is true for."""
        return len(self._table.flagged)

    def get(self, key: str) -> bytes | None:
        """The latest value of `key`; None where there is none (yet)."""
        return self._table.get(key.encode())

    def values(self) -> Iterator[tuple[str, bytes]]:
        """Every row, by key."""
        return ((key.decode(), value) for key, value in self._table.rows())

    async def wait_for(
        self, key: str, accept: Callable[[bytes | None], bool], timeout_s: float | None
    ) -> bytes | None:
        """The value of `key` as soon as `accept` says yes to it.

        Raises:
            TimeoutError: it did not within `timeout_s`.
        """
        changed = asyncio.Event()
        self._waiting[key].add(changed)  # before the first look, so that no change is missed
        try:
            async with asyncio.timeout(timeout_s):
                while not accept(value := self.get(key)):
                    await changed.wait()
                    changed.clear()
                return value
        finally:
            self._waiting[key].discard(changed)
            if not self._waiting[key]:
                del self._waiting[key]

    async def close(self) -> None:
        """Stop reading and close the table."""
        await self._tail.close()
        self._table.close()

    # -- the reader's thread ---------------------------------------------------------------------

    def _open(self, consumer: Consumer, partitions: set[int]) -> Mapping[int, int]:
        def may_resume(age_s: float, offsets: Mapping[int, int]) -> bool:
            return age_s <= _STALE_AFTER_S and all(
                offset <= consumer.get_watermark_offsets(TopicPartition(self._topic, p), timeout=_ANSWER_S)[1]
                for p, offset in offsets.items()
            )

        # The id differs for a topic of the same name in another cluster, and for one that was made again.
        return self._table.open(f"{self._topic_id()}/{len(partitions)}", may_resume)

    def _topic_id(self) -> str:
        admin = AdminClient(connection(self._settings))
        described = admin.describe_topics(TopicCollection([self._topic]), request_timeout=_ANSWER_S)
        return str(described[self._topic].result().topic_id)

    def _take(self, messages: list[Message]) -> None:
        changes = [_change(message) for message in messages]
        self._table.write(changes)
        changed = {change.key.decode(errors="replace") for change in changes}
        if awaited := [key for key in changed if key in self._waiting]:
            self._loop.call_soon_threadsafe(self._notify, awaited)

    def _notify(self, keys: list[str]) -> None:
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()


def _change(message: Message) -> Change:
    key, value = message.key(), message.value()
    return Change(message.partition() or 0, message.offset() or 0, _bytes(key) or b"", _bytes(value))


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw
