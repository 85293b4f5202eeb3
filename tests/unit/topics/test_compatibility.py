"""What may change in a minor version, on either side."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.compatibility import breaks
from topics.catalogue import catalogue
from topics.contract.schemas import Direction, message_types, schema
from topics.settings import KafkaSettings

READ: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["run"],
    "properties": {
        "run": {"type": "string", "minLength": 1},
        "cpus": {"type": "integer", "minimum": 1, "maximum": 2},
        "mode": {"enum": ["fast", "slow"], "type": "string"},
        "files": {"type": "array", "items": {"$ref": "#/$defs/File"}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "$defs": {
        "File": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": {"type": "string"}},
        }
    },
}
WRITTEN = deepcopy(READ)
del WRITTEN["additionalProperties"], WRITTEN["$defs"]["File"]["additionalProperties"]


def changed(schema: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """With `value` at a path of keys; None removes."""
    *parents, last = path.split("/")
    whole = inner = deepcopy(schema)
    for parent in parents:
        inner = inner[parent]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "read", "written"),
    [
        ("properties/more", {"type": "string"}, True, True),
        ("properties/note", None, False, False),
        ("required", ["run", "cpus"], False, True),
        ("required", [], True, False),
        ("properties/cpus/maximum", 4, True, False),
        ("properties/cpus/maximum", 1, False, True),
        ("properties/cpus/minimum", 0, True, False),
        ("properties/cpus/type", "number", True, False),
        ("properties/cpus/type", "string", False, False),
        ("properties/mode/enum", ["fast", "slow", "new"], True, False),
        ("properties/mode/enum", ["fast"], False, True),
        ("properties/note/anyOf", [{"type": "string"}], False, True),
        ("properties/note/anyOf", [{"type": "string"}, {"type": "null"}, {"type": "integer"}], True, False),
        ("properties/run/pattern", "^a", False, True),
        ("properties/run/title", "Anything", True, True),
        ("$defs/File/properties/more", {"type": "string"}, True, True),
        ("$defs/File/properties/name", None, False, False),
        ("$defs/File/properties/name/type", "integer", False, False),
        ("$defs/File/required", [], True, False),
    ],
)
def test_a_change(path: str, value: Any, read: bool, written: bool) -> None:
    assert (breaks(READ, changed(READ, path, value), "read") == []) == read
    assert (breaks(WRITTEN, changed(WRITTEN, path, value), "written") == []) == written


def test_what_breaks_is_named_by_path() -> None:
    assert breaks(READ, changed(READ, "$defs/File/properties/name", None), "read")[-1:] == [
        "files[].name: is not known"
    ]


SAID = list(message_types(catalogue(KafkaSettings())))


@given(st.sampled_from(SAID), st.data())
def test_any_field_that_goes_is_found(said: Any, data: st.DataObject) -> None:
    old = schema(said)
    objects = [old, *old.get("$defs", {}).values()]
    fields = [(number, name) for number, o in enumerate(objects) for name in o.get("properties", {})]
    if not fields:
        return
    number, name = data.draw(st.sampled_from(fields))
    new = deepcopy(old)
    del [new, *new.get("$defs", {}).values()][number]["properties"][name]
    assert breaks(old, new, said.direction)
    assert not breaks(old, old, said.direction)


@pytest.mark.parametrize("direction", ["read", "written"])
def test_nothing_is_compatible_with_itself_and_anything(direction: Direction) -> None:
    assert breaks(READ, READ, direction) == []
    assert breaks(READ, {"type": "array"}, direction)
