"""The table of optimisations in docs/performance.md names code, mutants and tests that exist."""

import re
from itertools import chain
from pathlib import Path

import pytest

from tests.simulator.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
PACKAGES = ("infra", "ingest", "nix", "processors", "topics")
ROWS = re.findall(
    r"^\| ([^|]+) \| (?:none|\d) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$",
    (ROOT / "docs" / "performance.md").read_text(),
    re.MULTILINE,
)
SOURCES = "\n".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def is_defined(name: str) -> bool:
    return (
        re.search(rf"^\s*(?:class|(?:async )?def) {name}\b|^{name}\b.* = ", SOURCES, re.MULTILINE) is not None
    )


def test_the_table_is_read() -> None:
    assert len(ROWS) >= 15


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_what_a_row_names_exists(row: tuple[str, str, str]) -> None:
    _, where, guards = row
    assert names(where)
    assert [name for name in names(where) if not is_defined(name)] == []
    assert [name for name in names(guards) if name not in chain(MUTANTS, TESTS)] == []
