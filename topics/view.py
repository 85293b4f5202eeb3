"""A compacted topic as a local table: RocksDB with its offsets beside it, so that a restart resumes."""

import asyncio
import logging
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, TopicDescription
from rocksdict import Options, Rdict, WriteBatch

from topics.clients import connection, consume_batch, consumer_config, is_fatal
from topics.crash import crash
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

_ROW, _OFFSET, _META = b"=", b"@", b"!"
_STALE_AFTER_S = 12 * 3600.0
"""Half of Kafka's default `delete.retention.ms`: an older table could have missed a tombstone."""
_BATCH = 1000


class View:
    """Reads one compacted topic in a thread of its own; answers look-ups from the local table.

    The directory belongs to this instance alone. `get` may be called from any thread, the `async`
    methods from the event loop that `start` was called on.
    """

    def __init__(self, settings: KafkaSettings, topic: str, directory: Path) -> None:
        self._settings, self._topic = settings, topic
        self._directory = directory
        self._consumer = Consumer(
            consumer_config(settings, "view") | {"enable.partition.eof": True, "fetch.wait.max.ms": 100}
        )
        self._db: Rdict | None = None
        self._pending: set[int] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"view-{topic}", daemon=True)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._caught_up = asyncio.Event()
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Open the table and go on reading where it stands."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def caught_up(self) -> bool:
        """Whether everything that was on the topic at the start has been read."""
        return self._caught_up.is_set()

    async def wait_caught_up(self) -> None:
        """Wait for `caught_up`."""
        await self._caught_up.wait()

    @property
    def alive(self) -> bool:
        """Whether the reader still runs; a view whose reader died must be made anew."""
        return self._thread.is_alive()

    def get(self, key: str) -> bytes | None:
        """The latest value of `key`; None where there is none (yet)."""
        try:
            value: bytes | None = self._db.get(_ROW + key.encode()) if self._db is not None else None
        except Exception as error:
            self._discard_if_corrupt(error)
            raise
        return value

    def values(self) -> Iterator[tuple[str, bytes]]:
        """Every row, by key."""
        if self._db is None:
            return
        for key, value in self._db.items(from_key=_ROW):
            assert isinstance(key, bytes)
            if not key.startswith(_ROW):
                return
            yield key[len(_ROW) :].decode(), value

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
        self._closing.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    # -- the reader's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._assign()
            while not self._closing.is_set():
                self._apply(consume_batch(self._consumer, _BATCH, 0.1))
        except Exception as error:
            log.exception("view of %s", self._topic)
            self._discard_if_corrupt(error)
            crash(f"the view of {self._topic} cannot be read on")  # else whoever waits for it waits for ever
        finally:
            self._consumer.close()
            if self._db is not None:
                self._db.close()
                self._db = None

    def _assign(self) -> None:
        topic = self._described()
        if topic is None:
            return
        partitions = sorted(partition.id for partition in topic.partitions)
        # The id differs for a topic of the same name in another cluster, and for one that was made again.
        identity = f"{topic.topic_id}/{len(partitions)}".encode()
        self._db = self._open(identity, partitions)
        self._pending = set(partitions)
        starts = [TopicPartition(self._topic, p, self._offset(p)) for p in partitions]
        self._consumer.assign(starts)

    def _described(self) -> TopicDescription | None:
        """The topic, as soon as broker and topic are there; None once the view is being closed."""
        said = ""
        while not self._closing.is_set():
            admin = AdminClient(connection(self._settings))
            described = admin.describe_topics(TopicCollection([self._topic]), request_timeout=2)
            try:
                topic: TopicDescription = described[self._topic].result()
            except KafkaException as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("view of %s waits for the broker: %s", self._topic, said)
            else:
                return topic
            self._closing.wait(0.2)
        return None

    def _open(self, identity: bytes, partitions: list[int]) -> Rdict:
        db = self._db_if_whole()
        if db is None or db.get(_META + b"identity") != identity or not self._fresh(db, partitions):
            if db is not None:
                db.close()
            shutil.rmtree(self._directory)
            db = self._db_at()
        db[_META + b"identity"] = identity
        return db

    def _db_if_whole(self) -> Rdict | None:
        try:
            return self._db_at()
        except Exception as error:  # rocksdict has no class of its own for any fault
            if "/LOCK" in str(error):  # somebody else has it, it is whole
                raise
            log.warning("view of %s: its table is broken, reading the topic anew: %s", self._topic, error)
            return None

    def _db_at(self) -> Rdict:
        self._directory.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.set_keep_log_file_num(2)
        return Rdict(str(self._directory), options)

    def _fresh(self, db: Rdict, partitions: list[int]) -> bool:
        """Whether the table may be resumed: young enough, and not ahead of the topic."""
        if time.time() - float(db.get(_META + b"saved_at") or 0) > _STALE_AFTER_S:
            return False
        for partition in partitions:
            offset = int(db.get(_OFFSET + str(partition).encode()) or 0)
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=10)
            if offset > high:
                return False
        return True

    def _discard_if_corrupt(self, error: Exception) -> None:
        """What RocksDB finds out only when it reads a block: the next start of this process reads anew."""
        if "Corruption" in str(error):
            shutil.rmtree(self._directory, ignore_errors=True)
            crash(f"the table of {self._topic} is broken: {error}")

    def _offset(self, partition: int) -> int:
        stored = self._db.get(_OFFSET + str(partition).encode()) if self._db is not None else None
        return int(stored) if stored else OFFSET_BEGINNING

    def _apply(self, messages: list[Message]) -> None:
        batch = WriteBatch(raw_mode=True)
        changed: set[str] = set()
        for message in messages:
            error = message.error()
            partition, offset = message.partition(), message.offset()
            if error is None:
                changed.add(self._put(batch, message))
                batch.put(_OFFSET + str(partition).encode(), str((offset or 0) + 1).encode())
            elif error.code() == KafkaError._PARTITION_EOF:
                self._at_end(partition)
            elif is_fatal(error):
                raise KafkaException(error)
            else:
                log.warning("view of %s: %s", self._topic, error)
        if changed and self._db is not None:
            batch.put(_META + b"saved_at", str(time.time()).encode())
            self._db.write(batch)
            if awaited := [key for key in changed if key in self._waiting]:
                self._loop.call_soon_threadsafe(self._notify, awaited)

    def _put(self, batch: WriteBatch, message: Message) -> str:
        key, value = message.key(), message.value()
        raw_key = key.encode() if isinstance(key, str) else key or b""
        if value is None:
            batch.delete(_ROW + raw_key)
        else:
            batch.put(_ROW + raw_key, value.encode() if isinstance(value, str) else value)
        return raw_key.decode(errors="replace")

    def _at_end(self, partition: int | None) -> None:
        if self._pending:
            self._pending.discard(partition if partition is not None else -1)
            if not self._pending:
                self._loop.call_soon_threadsafe(self._caught_up.set)

    def _notify(self, keys: list[str]) -> None:
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()
