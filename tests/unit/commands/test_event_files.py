"""Exported events as files."""

import io
import json
from collections.abc import Iterator

import pytest
from pyarrow import parquet

from infra.commands import event_files
from infra.commands.event_files import Format, write_events
from tests.unit.audit.messages import SUBMISSIONS, event, request, rubbish
from topics.audit.folded_states import ExportedEvent, export
from topics.submissions.facts import Started


def events() -> Iterator[ExportedEvent]:
    log = [
        event("one", request("\u00fc"), 0),
        event("one", Started(attempt=1, worker="w"), 1),
        rubbish("two", 2),
    ]
    return export(SUBMISSIONS, log, 0, 1000)


@pytest.mark.parametrize("group_rows", [1, 2, 1000])
def test_both_formats_say_the_same(group_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_files, "_GROUP_ROWS", group_rows)
    lines, table = io.BytesIO(), io.BytesIO()
    write_events(events(), Format.JSONL, lines)
    write_events(events(), Format.PARQUET, table)

    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    rows = parquet.read_table(table).to_pylist()
    assert [row.pop("time").isoformat(timespec="milliseconds") for row in rows] == [
        event.pop("time").replace("Z", "+00:00") for event in told
    ]
    assert [row | {"fact": json.loads(row["fact"])} for row in rows] == told


def test_parquet_of_nothing_has_its_columns() -> None:
    table = io.BytesIO()
    write_events([], Format.PARQUET, table)
    assert set(parquet.read_schema(table).names) == set(ExportedEvent.model_fields)
