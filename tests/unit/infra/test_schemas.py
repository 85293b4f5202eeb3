"""The documents of the contract are those of the code, and break nothing that was committed before."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.documents.schemas import DIRECTORY, documents
from ingest.tracing import TRACESTATE_CHARACTERS
from tests.support.compatibility import breaks
from topics.catalogue import catalogue
from topics.contract.schemas import MessageType, message_types, schema
from topics.kafka.codec import CARRIED_BYTES, CARRIED_HEADERS
from topics.request.limits import KiB
from topics.request.parsing import MAX_FIELD_ERRORS
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS

ROOT = Path(__file__).parents[3]
SAID = list(message_types(catalogue(KafkaSettings())))


def test_documents_are_those_of_the_code() -> None:
    """If not: `make docs`."""
    assert {path.name: path.read_text() for path in DIRECTORY.glob("*.json")} == documents()


def references(document: Any) -> Iterator[str]:
    match document:
        case dict():
            for key, value in document.items():
                yield from [value] if key == "$ref" else references(value)
        case list():
            for item in document:
                yield from references(item)


@pytest.mark.parametrize("name", documents())
def test_references_lead_somewhere(name: str) -> None:
    document = json.loads(documents()[name])
    for reference in references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def committed() -> dict[str, str]:
    """The documents before the last change of them, whether that is committed yet or not."""
    if not git("rev-parse", "--git-dir"):
        return {}  # an archive of the sources has no history
    changed = git("status", "--porcelain", "--", str(DIRECTORY))
    last = git("log", "-1", "--format=%H", "--", str(DIRECTORY)).strip()
    before = "HEAD" if changed else f"{last}~1"
    names = git("ls-tree", "--name-only", before, f"{DIRECTORY.relative_to(ROOT)}/").split() if last else []
    return {Path(name).name: git("show", f"{before}:{name}") for name in names}


def git(*arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return committed()


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.name)
def test_nothing_breaks_who_relies_on_the_committed_schema(said: MessageType, before: dict[str, str]) -> None:
    """If it must: a new CloudEvents type with the next number beside the old one, see docs/kafka.md."""
    if old := before.get(f"{said.name}.json"):
        assert breaks(json.loads(old), schema(said), said.direction) == []


def test_no_schema_that_was_committed_is_gone(before: dict[str, str]) -> None:
    assert before.keys() <= documents().keys()


def test_the_document_names_every_kind_of_event_and_the_bounds() -> None:
    text = " ".join((ROOT / "docs" / "kafka.md").read_text().split())
    assert [name for name in FACTS if name not in text] == []
    assert f"first {CARRIED_HEADERS} of them" in text
    assert f"{CARRIED_BYTES // KiB} KiB" in text
    assert f"first {MAX_FIELD_ERRORS})" in text
    assert f"{TRACESTATE_CHARACTERS} characters" in text
