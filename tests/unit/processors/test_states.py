"""Rows on disk behave as a dictionary does."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.store.states import States

changes = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.binary(max_size=3)), max_size=20)


def test_they_behave_as_a_dictionary_does(tmp_path: Path) -> None:
    @settings(max_examples=20, deadline=None)
    @given(changes)
    def test(changes: list[tuple[str, bytes | None]]) -> None:
        states, expected = States(tmp_path / "rows"), dict[str, bytes]()
        for key, value in changes:
            if value is None:
                assert states.pop(key, None) == expected.pop(key, None)
            else:
                states[key] = expected[key] = value
            assert states.get(key) == expected.get(key)
        assert (dict(states), len(states), "a" in states) == (expected, len(expected), "a" in expected)
        states.close()

    test()


def test_a_new_one_is_empty_whatever_was_there(tmp_path: Path) -> None:
    first = States(tmp_path / "rows")
    first["a"] = b"1"
    first.close()
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "LOCK").touch()
    second = States(tmp_path / "rows")
    assert dict(second) == {}
    second.close()
    assert not (tmp_path / "rows").exists()


def test_rows_take_no_disk_before_memory_is_full(tmp_path: Path) -> None:
    """So that a full disk does not end a store processor."""
    states = States(tmp_path / "rows")
    states["a"] = bytes(1 << 20)
    logs = [file for file in (tmp_path / "rows").iterdir() if file.suffix == ".log"]
    assert [file.stat().st_size for file in logs] == [0]
    states.close()
