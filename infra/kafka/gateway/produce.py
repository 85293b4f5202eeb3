"""Parser and checks of Produce requests, and the responses that refuse them. Pure.

https://kafka.apache.org/protocol.html#The_Messages_Produce
"""

import struct
from dataclasses import dataclass

from aiokafka.protocol.types import UnsignedVarInt32

from infra.kafka.gateway.reader import FrameReader, MalformedError
from infra.kafka.gateway.unpacked import BatchTooLargeError, PackedError, check_unpacked
from topics.request.limits import MiB

UNPACKED_BYTES = 16 * MiB
"""Largest unpacked size of a batch. The request handler holds as much of each partition in memory."""
RECORDS = 100_000
"""Largest number of records of a batch. The broker keeps about 70 bytes for each while it checks them."""
PARTITIONS = 64
"""Largest number of batches of a request. Each batch is for one partition."""

VERSIONS = range(3, 14)
POLICY_VIOLATION = 44
_FLEXIBLE = 9
_WITH_TOPIC_IDS = 13
_MAGIC = 2

MESSAGE_TOO_LARGE = 10
INVALID_RECORD = 87

_BATCH = struct.Struct(">qiibIhiqqqhii")
"""Layout of a batch's header: https://kafka.apache.org/documentation/#recordbatch"""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records of a Produce request for one partition."""

    topic: bytes
    """Topic as it is encoded in the request: a name with its length, or an id."""
    partition: int
    records: bytes

    @property
    def producer_id(self) -> int:
        """Id of an idempotent producer, negative for others. Only valid if `refusal` accepts the batch."""
        return int(_BATCH.unpack_from(self.records)[9])


@dataclass(frozen=True, slots=True)
class Produce:
    """Produce request, parsed as far as the gateway needs it."""

    version: int
    correlation_id: int
    acks: int
    batches: tuple[RecordBatch, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Reason for refusing a request, as Kafka's response has it."""

    code: int
    """Error code of Kafka's protocol."""
    reason: str


def read_produce(frame: bytes, *, cut: bool = False) -> Produce:
    """Parse a request that comes without the length before it.

    With `cut`, the frame is only the beginning of a request. Only its first partition is parsed.

    Raises:
        MalformedError: the version is unknown, there are too many batches, or the request ends early.
    """
    try:
        return _read(FrameReader(frame), cut=cut)
    except (struct.error, IndexError):
        raise MalformedError("a request to produce ends early") from None


def refusal(produce: Produce, most_batch_bytes: int) -> Refusal | None:
    """Return the reason why the broker must not receive a request, or None if it may."""
    for batch in produce.batches:
        if len(batch.records) > most_batch_bytes:
            return Refusal(MESSAGE_TOO_LARGE, f"the batch has more than {most_batch_bytes} bytes")
        try:
            _check(batch.records)
        except BatchTooLargeError as error:
            return Refusal(MESSAGE_TOO_LARGE, str(error))
        except PackedError as error:
            return Refusal(INVALID_RECORD, str(error))
    return None


def refuse(produce: Produce, why: Refusal) -> bytes:
    """Return a response that refuses all batches of a request, with its length."""
    topics = b"".join(_refused(produce.version, batch, why) for batch in produce.batches)
    count = len(produce.batches)
    if produce.version < _FLEXIBLE:
        body = struct.pack(">ii", produce.correlation_id, count) + topics + struct.pack(">i", 0)
    else:
        header = struct.pack(">iB", produce.correlation_id, 0)
        body = header + UnsignedVarInt32.encode(count + 1) + topics + struct.pack(">iB", 0, 0)
    return struct.pack(">i", len(body)) + body


def _check(records: bytes) -> None:
    if len(records) < _BATCH.size:
        raise PackedError("the batch is cut short")
    _, length, _, magic, _, attributes, *_, count = _BATCH.unpack_from(records)
    if magic != _MAGIC or 12 + length != len(records):
        raise PackedError("not one batch of Kafka's message format 2")
    if count > RECORDS:
        raise BatchTooLargeError(f"the batch has more than {RECORDS} records")
    check_unpacked(attributes & 7, records[_BATCH.size :], UNPACKED_BYTES)


def _read(reader: FrameReader, *, cut: bool) -> Produce:
    _, version, correlation_id = reader.unpack(">hhi")
    if version not in VERSIONS:
        raise MalformedError(f"a request to produce of version {version}")
    reader.text()  # the client id comes before the flexible part of a header
    reader.flexible = version >= _FLEXIBLE
    reader.skip_tags()
    reader.text()  # the transactional id
    acks, _ = reader.unpack(">hi")
    batches: list[RecordBatch] = []
    for _ in range(reader.count(PARTITIONS)):
        start = reader.at
        if version >= _WITH_TOPIC_IDS:
            reader.take(16)
        else:
            reader.text()
        topic = reader.frame[start : reader.at]
        for _ in range(reader.count(PARTITIONS)):
            (partition,) = reader.unpack(">i")
            if cut:
                return Produce(version, correlation_id, acks, (RecordBatch(topic, partition, b""),))
            batches.append(RecordBatch(topic, partition, reader.data()))
            reader.skip_tags()
        reader.skip_tags()
    reader.skip_tags()
    if len(batches) > PARTITIONS or reader.at != len(reader.frame):
        raise MalformedError("a request to produce with too many batches, or with bytes after its end")
    return Produce(version, correlation_id, acks, tuple(batches))


def _refused(version: int, batch: RecordBatch, why: Refusal) -> bytes:
    partition = struct.pack(">ihqq", batch.partition, why.code, -1, -1)
    if version >= 5:
        partition += struct.pack(">q", -1)  # log start offset
    reason = why.reason.encode()
    if version >= _FLEXIBLE:
        partition += UnsignedVarInt32.encode(1) + UnsignedVarInt32.encode(len(reason) + 1) + reason + b"\0"
        return batch.topic + UnsignedVarInt32.encode(2) + partition + b"\0"
    if version >= 8:
        partition += struct.pack(">ih", 0, len(reason)) + reason
    return batch.topic + struct.pack(">i", 1) + partition
