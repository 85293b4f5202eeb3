"""The formats of `envicutor audit export`: written as events come, none is kept in memory for long."""

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from topics.audit.past import ExportedEvent
from topics.request.limits import MiB
from topics.times import milliseconds

if TYPE_CHECKING:
    import pyarrow

_GROUP_ROWS = 10_000
_GROUP_BYTES = 32 * MiB
"""A row group of Parquet is whole before it is written; events may be of some MiB each."""


class Format(StrEnum):
    """Of a file of events."""

    JSONL = "jsonl"
    PARQUET = "parquet"


class MissingLibraryError(Exception):
    """Parquet needs pyarrow, which is an extra of this distribution."""


def write_events(events: Iterable[ExportedEvent], format: Format, file: BinaryIO) -> None:
    """Write all.

    Raises:
        MissingLibraryError: nothing was written.
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
    """The fields of ExportedEvent; `fact` is JSON, since each kind of event has its own."""
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
