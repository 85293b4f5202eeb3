"""The records of `X.leases`, as a health checker reads and writes them."""

import uuid
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from topics.kafka.codec import DecodeError, Record, cloud_event, encode
from topics.leases import Lease, Tick

MAX_NAME_LENGTH = 200
"""Of ids and workers: far more than ours have, and nothing that could fill the table."""

MAX_ATTEMPT = 1_000_000

_RECORD: TypeAdapter[Lease | Tick] = TypeAdapter(Annotated[Lease | Tick, Field(discriminator="kind")])


def read(key: bytes | None, value: bytes | None) -> Lease | Tick:
    """Read a record.

    Raises:
        DecodeError: it is neither a lease under its own id nor a tick.
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
        raise DecodeError("the lease is not of the id that is the record's key")
    if not 0 < len(lease.id) <= MAX_NAME_LENGTH or not 0 < len(lease.worker) <= MAX_NAME_LENGTH:
        raise DecodeError(f"id and worker must have 1 to {MAX_NAME_LENGTH} characters")
    if not 0 < lease.attempt <= MAX_ATTEMPT:
        raise DecodeError(f"attempt must be between 1 and {MAX_ATTEMPT}")


def tick_record(topic: str, mark: str, source: str) -> Record:
    """A tick, for whichever partition it is produced to."""
    headers = cloud_event("envicutor.lease.tick.v1", uuid.uuid4().hex, mark, source)
    return Record(topic, None, encode(Tick(mark=mark)), headers)
