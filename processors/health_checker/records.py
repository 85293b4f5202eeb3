"""Decoding and encoding of the records of `X.leases`."""

import uuid
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from topics.kafka.codec import DecodeError, Record, cloud_event, encode
from topics.leases import Lease, Tick

MAX_NAME_LENGTH = 200
"""Characters of an id or a worker: far more than those of this system have, and too few to fill the table."""

MAX_ATTEMPT = 1_000_000

_RECORD: TypeAdapter[Lease | Tick] = TypeAdapter(Annotated[Lease | Tick, Field(discriminator="kind")])


def read(key: bytes | None, value: bytes | None) -> Lease | Tick:
    """Decode a record.

    Raises:
        DecodeError: the record is neither a lease under its own id nor a tick.
    """
    try:
        record = _RECORD.validate_json(value or b"")
    except ValidationError as error:
        raise DecodeError(f"neither a lease nor a tick: {error.errors()[0]['msg']}") from None
    if isinstance(record, Lease):
        _check(record, key)
    return record


def _check(lease: Lease, key: bytes | None) -> None:
    if key != lease.id.encode():
        raise DecodeError("the id of the lease differs from the key of the record")
    if not 0 < len(lease.id) <= MAX_NAME_LENGTH or not 0 < len(lease.worker) <= MAX_NAME_LENGTH:
        raise DecodeError(f"id and worker must have 1 to {MAX_NAME_LENGTH} characters")
    if not 0 < lease.attempt <= MAX_ATTEMPT:
        raise DecodeError(f"attempt must be between 1 and {MAX_ATTEMPT}")


def tick_record(topic: str, mark: str, source: str) -> Record:
    """Return a tick; the producer chooses the partition."""
    headers = cloud_event("envicutor.lease.tick.v1", uuid.uuid4().hex, mark, source)
    return Record(topic, None, encode(Tick(mark=mark)), headers)
