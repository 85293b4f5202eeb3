"""Seals: signed digests of ranges of the log, each naming its predecessor. No Kafka client here.

To alter, remove or move a sealed record, an attacker must replace its seal and all later ones, which needs
the key. Seals do not show that the last ones of a chain are missing. To detect that, keep the newest seal
elsewhere.
"""

import hashlib
import struct

from confluent_kafka import Message
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from topics.kafka.codec import DecodeError, Headers, Record, cloud_event, decode, encode, headers
from topics.kafka.records import position
from topics.model import Model

SEALED = "envicutor.audit.sealed.v1"
"""CloudEvents type of a seal."""
SIGNATURE = "signature"
"""Header with the Ed25519 signature of the value's bytes (RFC 8032)."""


class Seal(Model):
    """Digest of one range of records of one partition. Key: `topic/partition`."""

    topic: str
    """Sealed topic, with the system's prefix."""
    partition: int
    """Number of the sealed partition, from 0."""
    first_offset: int
    """Offset at which the range begins: `next_offset` of the previous seal, or 0 for the first seal."""
    next_offset: int
    """Offset before which the range ends."""
    records: int
    """Number of records in the range."""
    first_time_ms: int
    """Append time of the first record: Unix time in milliseconds."""
    last_time_ms: int
    """Append time of the last record: Unix time in milliseconds."""
    digest: str
    """SHA-256 of the records in their order, in the canonical form of docs/audit.md; hexadecimal."""
    previous: str
    """SHA-256 of the value of the partition's previous seal, hexadecimal; empty for the first seal."""


def canonical(message: Message) -> bytes:
    """Return the bytes of a record that are hashed; no other record has the same bytes.

    Big-endian: offset and append time in ms (8 bytes each); key; value; number of headers (4 bytes), then
    name and value of each in their order. Bytes are preceded by their length (4 bytes); -1 stands for null.
    """
    found = headers(message)
    fields = [_sized(message.key()), _sized(message.value()), struct.pack(">i", len(found))]
    fields += (_sized(part) for header in found for part in header)
    return struct.pack(">qq", position(message).offset, message.timestamp()[1]) + b"".join(fields)


def _sized(raw: str | bytes | None) -> bytes:
    if raw is None:
        return struct.pack(">i", -1)
    data = raw.encode() if isinstance(raw, str) else raw
    return struct.pack(">i", len(data)) + data


class OffsetRange:
    """Consecutive records of one partition that are not sealed yet."""

    def __init__(self, first_offset: int) -> None:
        self._hash = hashlib.sha256()
        self.first_offset = self.next_offset = first_offset
        self.records = 0
        self.first_time_ms = self.last_time_ms = 0

    def add(self, message: Message) -> None:
        """Add the next record to the range."""
        self._hash.update(canonical(message))
        self.last_time_ms = message.timestamp()[1]
        self.first_time_ms = self.first_time_ms or self.last_time_ms
        self.next_offset = position(message).offset + 1
        self.records += 1

    @property
    def digest(self) -> str:
        """SHA-256 of all records added so far, hexadecimal."""
        return self._hash.hexdigest()

    def seal(self, topic: str, partition: int, previous: str) -> Seal:
        """Return the seal of all records added so far, of which there is at least one."""
        return Seal(
            topic=topic,
            partition=partition,
            first_offset=self.first_offset,
            next_offset=self.next_offset,
            records=self.records,
            first_time_ms=self.first_time_ms,
            last_time_ms=self.last_time_ms,
            digest=self.digest,
            previous=previous,
        )


def fingerprint(value: str | bytes | None) -> str:
    """Return the SHA-256 of a seal's value, hexadecimal, by which the next seal names it."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value or b"").hexdigest()


def make_seal_record(topic: str, seal: Seal, key: Ed25519PrivateKey, source: str) -> Record:
    """Return the record of `seal`, signed by `key`."""
    value, subject = encode(seal), f"{seal.topic}/{seal.partition}"
    signature: Headers = [(SIGNATURE, key.sign(value))]
    event = cloud_event(SEALED, fingerprint(value), subject, source)
    return Record(topic, subject.encode(), value, event + signature)


def open_seal(message: Message, keys: tuple[Ed25519PublicKey, ...]) -> Seal:
    """Decode a record of `audit.seals` and verify its signature.

    Raises:
        DecodeError: the record is no seal, or none of `keys` signed it.
    """
    seal, signature, value = decode(Seal, message.value()), _signature(message), message.value()
    if not isinstance(value, bytes) or not any(_signed(key, signature, value) for key in keys):
        raise DecodeError("none of the keys signed it")
    return seal


def _signature(message: Message) -> bytes:
    found = dict(headers(message)).get(SIGNATURE)
    return found if isinstance(found, bytes) else b""


def _signed(key: Ed25519PublicKey, signature: bytes, value: bytes) -> bool:
    try:
        key.verify(signature, value)
    except InvalidSignature:
        return False
    return True
