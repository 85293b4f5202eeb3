"""File formats of `envicutor audit export`. Events are written as they arrive, so memory stays bounded."""

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from topics.audit.folded_states import ExportedEvent
from topics.request.limits import MiB
from topics.times import milliseconds

if TYPE_CHECKING:
    import pyarrow

_GROUP_ROWS = 10_000
_GROUP_BYTES = 32 * MiB
"""Size at which a row group of Parquet is written. A group is held in memory; an event may have some MiB."""


class Format(StrEnum):
    """File format of exported events."""

    JSONL = "jsonl"
    PARQUET = "parquet"


class MissingLibraryError(Exception):
    """Parquet needs pyarrow, which is an extra of this distribution."""


def write_events(events: Iterable[ExportedEvent], format: Format, file: BinaryIO) -> None:
    """Write all events to a file.

    Raises:
        MissingLibraryError: the format needs a library that is not installed. No event was written.
    """
    match format:
        case Format.JSONL:
            file.writelines(event.model_dump_json().encode() + b"\n" for event in events)
        case Format.PARQUET:
            _write_parquet(events, file)


def _write_parquet(events: Iterable[ExportedEvent], file: BinaryIO) -> None:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise MissingLibraryError("Parquet needs pyarrow: pip install 'envicutor[parquet]'") from None
    schema = _schema()
    with ParquetWriter(file, schema, compression="zstd") as writer:
        rows: list[dict[str, object]] = []
        size_bytes = 0
        for event in events:
            fact = json.dumps(event.fact, ensure_ascii=False)
            moment = milliseconds(event.time)
            rows.append(event.model_dump(exclude={"fact", "time"}) | {"time": moment, "fact": fact})
            size_bytes += len(fact)
            if len(rows) >= _GROUP_ROWS or size_bytes >= _GROUP_BYTES:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows, size_bytes = [], 0
        if rows:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _schema() -> "pyarrow.Schema":
    """Return the columns for ExportedEvent. `fact` is JSON text, since each event type has its own fields."""
    import pyarrow

    text = pyarrow.string()
    columns = {
        "time": pyarrow.timestamp("ms", tz="UTC"),
        "type": text,
        "source": text,
        "attempt": pyarrow.int32(),
        "worker": text,
        "refused": text,
        "offset": text,
        "subject": text,
        "id": text,
        "fact": text,
    }
    return pyarrow.schema(list(columns.items()))
