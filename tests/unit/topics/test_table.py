"""A table's index is what its rows say, whatever became of them before and however they came."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from topics.views.table import RowChange, Table, TableIndex

INDEX = TableIndex("by-row", keys=lambda summary: [summary, b"-" + summary])
KEYS = [b"a", b"b", b"c"]
Changes = Sequence[tuple[bytes, str | None]]
CHANGES = st.tuples(st.sampled_from(KEYS), st.none() | st.text("xyz", min_size=2, max_size=3))


def opened(folder: Path) -> Table:
    table = Table(folder, index=INDEX)
    table.open("topic", lambda *_: True)
    return table


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(CHANGES, min_size=1), max_size=4))
def test_the_index_is_of_the_rows_that_are_there(batches: Sequence[Changes]) -> None:
    rows: dict[bytes, bytes] = {}
    with TemporaryDirectory() as folder:
        table = opened(Path(folder) / "table")
        for offset, batch in enumerate(batches):
            changes = [change(key, _row(key, text)) for key, text in batch]
            table.write(changes, {"0": offset})
            for made in changes:
                rows.pop(made.key, None)
                rows |= {} if made.value is None else {made.key: made.value}
        assert list(table.indexed(b"-")) == sorted((row[:3] for row in rows.values()), reverse=True)
        assert summaries(table) == {key: row[:3] for key, row in rows.items()}
        table.close()


def change(key: bytes, row: bytes | None) -> RowChange:
    return RowChange(key, row, summary=None if row is None else row[:3])


def _row(key: bytes, text: str | None) -> bytes | None:
    return None if text is None else key + text.encode()


def summaries(table: Table) -> Mapping[bytes, bytes]:
    return {key: summary for key in KEYS if (summary := table.summary(key)) is not None}


def test_it_is_read_from_the_last_key_or_before_another(tmp_path: Path) -> None:
    table = opened(tmp_path)
    table.write([change(b"a", b"x1"), change(b"b", b"x3")], {"0": 2})
    assert list(table.indexed(b"-")) == [b"x3", b"x1"]
    assert list(table.indexed(b"-", b"x3")) == [b"x1"]
    assert list(table.indexed(b"-", b"x2")) == [b"x1"]
    assert list(table.indexed(b"-x", b"1")) == []
    table.close()
    again = opened(tmp_path)
    assert list(again.indexed(b"-")) == [b"x3", b"x1"]
    again.close()


def test_appended_rows_have_no_place_in_the_index_and_offsets_are_those_of_the_last_write(
    tmp_path: Path,
) -> None:
    table = opened(tmp_path)
    table.write([change(b"a", b"x1")], {"0": 1, "1": 5}, [(b"a/1", b"event")])
    table.write([], {"1": 6})
    assert list(table.indexed(b"-")) == [b"x1"]
    assert dict(table.rows(b"a/")) == {b"1": b"event"}
    table.close()
    assert Table(tmp_path, index=INDEX).open("topic", lambda *_: True) == {"0": 1, "1": 6}


def test_labels_are_counted_across_restarts(tmp_path: Path) -> None:
    def opened() -> Table:
        table = Table(tmp_path)
        table.open("topic", lambda *_: True)
        return table

    table = opened()
    rows = [(b"a", b"x"), (b"b", b"x"), (b"c", b"y"), (b"a", b"y"), (b"b", b"-"), (b"c", None)]
    table.write([RowChange(key, row, None if row == b"-" else row) for key, row in rows], {"0": 6})
    for _ in range(2):
        assert (table.statuses, table.counts[b"x"], table.counts[b"y"]) == ({b"a": b"y"}, 0, 1)
        table.close()
        table = opened()
    table.close()
