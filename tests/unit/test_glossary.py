"""docs/glossary.md defines each term once, and names what is in the code."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs/glossary.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| term ")
]


def test_each_term_once() -> None:
    terms = [term for term, _, _ in ROWS]
    assert len(terms) > 60
    assert len(set(terms)) == len(terms)


def test_each_name_is_in_the_code() -> None:
    product = [
        file
        for name in ("ingest", "processors", "topics", "nix", "infra")
        for file in (ROOT / name).rglob("*.py")
    ]
    nodes = [node for file in product for node in ast.walk(ast.parse(file.read_text()))]
    classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    names = [name for _, _, code in ROWS for name in re.findall(r"`([^`]+)`", code)]
    assert [name for name in names if name not in classes and not (ROOT / name).exists()] == []
