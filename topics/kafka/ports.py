"""Kafka and time as the shells of processors see them: a consumer, producers and a clock.

`topics.kafka.confluent` implements them with librdkafka and its threads, the simulator in virtual time. A
shell that waits, sleeps or asks for the time only by these runs unchanged in both.

Errors are `KafkaException`s, whose `args[0]` is a `KafkaError` with the flags `retriable`, `fatal` and
`txn_requires_abort`.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from confluent_kafka import Message

from topics.kafka.codec import Record


class Clock(Protocol):
    """Monotonic time of a process."""

    def now_s(self) -> float:
        """Return the time in seconds since an arbitrary moment."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Wait for `duration_s` seconds."""
        ...


class LoopClock:
    """Clock of the running event loop, which the simulator replaces by one in virtual time."""

    def now_s(self) -> float:
        """Return the loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, duration_s: float) -> None:
        """Wait for `duration_s` seconds."""
        await asyncio.sleep(duration_s)


class RebalanceListener(Protocol):
    """Reaction of a group member to rebalances, which happen within `Consumer.poll` and `Consumer.close`."""

    async def on_assign(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Take over partitions. Return offsets to start at; others start at the committed offset."""
        ...

    async def on_revoke(self, partitions: Collection[int]) -> None:
        """Give up partitions, which no other member owns before this returns; commits still count."""
        ...

    async def on_lost(self, partitions: Collection[int]) -> None:
        """Forget partitions that another member may own already."""
        ...


class Consumer(Protocol):
    """Member of a consumer group that reads one topic, committed records only."""

    async def subscribe(self, listener: RebalanceListener) -> None:
        """Join the group; the methods of `listener` run on the present event loop."""
        ...

    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        """Return the available records, at most `max_records`; wait up to `timeout_s` for the first only.

        Rebalances happen within this call. A record that was fetched before one may be of a partition that is
        revoked now. Some of the messages may be errors, see `Message.error`.
        """
        ...

    async def commit(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        """Commit the next offset of each partition; return those that were committed.

        Raises:
            KafkaException: none was committed, or it is not known.
        """
        ...

    async def committed(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the committed offset of each partition, 0 without one; wait for no open transaction.

        Raises:
            KafkaException: it is retriable if offsets of an open transaction are pending.
        """
        ...

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Fetch assigned partitions from these offsets on; drop what was fetched of them."""
        ...

    def pause(self) -> None:
        """Fetch nothing until `resume`; `poll` answers rebalances meanwhile."""
        ...

    def resume(self) -> None:
        """Fetch again after `pause`."""
        ...

    def high_watermark(self, partition: int) -> int:
        """Return the end of an assigned partition, open transactions included, as of the last fetch.

        It is negative before the first fetch.
        """
        ...

    @property
    def group_metadata(self) -> object | None:
        """Identity of this member for `TransactionalProducer.send_offsets`; None while it is no member."""
        ...

    async def close(self) -> None:
        """Leave the group, which revokes what is assigned; a static member keeps it for a while."""
        ...


class Reader(Protocol):
    """Consumer without a group that reads partitions of one topic, committed records only."""

    async def end_offsets(self, partitions: Collection[int], topic: str | None = None) -> Mapping[int, int]:
        """Return the end of each partition of the reader's topic or another one, open transactions included.

        Raises:
            KafkaException: an end is not known at the moment.
        """
        ...

    async def reconnect(self) -> None:
        """Look for the brokers and leaders anew, as an old connection may give the same error for ever."""
        ...

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        ...

    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        """Return the available records, at most `max_records`; wait up to `timeout_s` for the first only.

        At the end of a partition an error `_PARTITION_EOF` comes, whose offset counts transaction markers and
        aborted records.
        """
        ...

    async def close(self) -> None:
        """Close the connections to the brokers."""
        ...


class Producer(Protocol):
    """Idempotent producer, which retries until the broker has acknowledged a record."""

    def publish(self, record: Record, *, partition: int = -1) -> "asyncio.Future[Message]":
        """Send a record, in the order of the calls for one partition.

        The future has the record as it was appended, or a KafkaException if it cannot be delivered.
        """
        ...

    def produce(self, record: Record, *, partition: int = -1) -> object:
        """Send a record like `publish`, in one order with it, without a future on the event loop."""
        ...


class TransactionalProducer(Protocol):
    """Producer of one transactional id, whose transactions include offsets of a consumer."""

    async def init(self) -> None:
        """Fence earlier producers of the id, this one included, whose open transaction is aborted.

        After a fatal error it begins anew.
        """
        ...

    def begin(self) -> None:
        """Begin a transaction; the one before must be over."""
        ...

    def produce(self, record: Record, *, partition: int = -1) -> None:
        """Add a record to the transaction.

        Raises:
            BufferError: the local queue is full.
        """
        ...

    async def send_offsets(self, topic: str, offsets: Mapping[int, int], group_metadata: object) -> None:
        """Add the next offsets of a consumer's partitions to the transaction; its group may fence it."""
        ...

    async def commit(self) -> None:
        """Commit. After a retriable error call it again."""
        ...

    async def abort(self) -> None:
        """Abort. After a retriable error call it again."""
        ...

    def close(self) -> None:
        """Release what the producer has; an open transaction is left to its timeout."""
        ...


class Follower(Protocol):
    """Reader of every committed record of one topic, as it is appended."""

    async def start(self) -> None:
        """Begin to read; wait neither for the broker nor for the topic."""
        ...

    async def wait_caught_up(self) -> None:
        """Wait until all records that existed at the start were passed on."""
        ...

    async def close(self) -> object:
        """Stop reading the topic."""
        ...


class Clients(Protocol):
    """Maker of the Kafka clients of one process."""

    def consumer(self, group: str, topic: str, options: Mapping[str, object] = {}) -> Consumer:
        """Return a member of a group, whose client has the given `options` beside the usual ones."""
        ...

    def follow(self, topic: str, take: Callable[[list[Message]], None], *, from_beginning: bool) -> Follower:
        """Return a reader that passes records to `take` on the event loop.

        It reads from the topic's beginning, or from its end at the start.
        """
        ...
