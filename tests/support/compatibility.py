"""Whether a JSON Schema may follow another in a minor version; for the keywords that pydantic writes.

Two schemas are compared by one question: is every document of the `narrow` one a document of the `wide`?
For what others write and we read, the new schema must be the wide one: whoever was understood still is.
For what we write and others read, it must be the narrow one: whoever understood still does. Objects that we
write are open (others ignore fields that they don't know), objects that we read are closed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from topics.contract.schemas import Direction

Schema = Mapping[str, Any]

_AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_SAME = ("pattern", "patternProperties", "propertyNames", "uniqueItems", "format")


def breaks(old: Schema, new: Schema, direction: Direction) -> list[str]:
    """What in `new` breaks those who rely on `old`, by path; empty where nothing does."""
    narrow, wide = (old, new) if direction == "read" else (new, old)
    return list(_differences(narrow, wide, "", narrow, wide))


def _differences(
    narrow: Schema, wide: Schema, path: str, narrow_root: Schema, wide_root: Schema
) -> Iterator[str]:
    narrow, wide = _resolved(narrow, narrow_root), _resolved(wide, wide_root)

    def below(inner_narrow: Schema, inner_wide: Schema, where: str) -> Iterator[str]:
        return _differences(inner_narrow, inner_wide, where, narrow_root, wide_root)

    if alternatives := _alternatives(narrow):
        for alternative in alternatives:
            yield from below(alternative, wide, path)
        return
    if alternatives := _alternatives(wide):
        if all(list(below(narrow, alternative, path)) for alternative in alternatives):
            yield f"{path or '(root)'}: {_name(narrow)} is none of {[_name(a) for a in alternatives]}"
        return
    yield from _of_values(narrow, wide, path or "(root)")
    if "items" in wide:
        yield from below(narrow.get("items", {}), wide["items"], f"{path}[]")
    yield from _of_fields(narrow, wide, path)
    for name, field in wide.get("properties", {}).items():
        if name in narrow.get("properties", {}):
            yield from below(narrow["properties"][name], field, f"{path}.{name}".lstrip("."))


def _of_values(narrow: Schema, wide: Schema, path: str) -> Iterator[str]:
    types = narrow.get("type"), wide.get("type")
    if types[1] not in {None, types[0]} and types != ("integer", "number"):
        yield f"{path}: {types[0]} is not {types[1]}"
    if (allowed := _enumerated(wide)) is not None:
        given = _enumerated(narrow)
        if given is None or not given <= allowed:
            yield f"{path}: may be more than {sorted(allowed)}"
    for key in (*_AT_LEAST, *_AT_MOST):
        if key in wide and not _within(narrow.get(key), wide[key], at_least=key in _AT_LEAST):
            yield f"{path}: {key} {narrow.get(key)} goes beyond {wide[key]}"
    for key in _SAME:
        if key in wide and narrow.get(key) != wide[key]:
            yield f"{path}: another {key}"


def _of_fields(narrow: Schema, wide: Schema, path: str) -> Iterator[str]:
    has, knows = narrow.get("properties", {}), wide.get("properties", {})
    for name in sorted(set(wide.get("required", ())) - set(narrow.get("required", ()))):
        yield f"{path}.{name}".lstrip(".") + ": may be missing"
    if wide.get("additionalProperties") is False:
        for name in sorted(has.keys() - knows.keys()):
            yield f"{path}.{name}".lstrip(".") + ": is not known"
    if narrow.get("additionalProperties") is not False:
        for name in sorted(knows.keys() - has.keys()):
            yield f"{path}.{name}".lstrip(".") + ": is gone"


def _within(given: float | None, bound: float, *, at_least: bool) -> bool:
    return given is not None and (given >= bound if at_least else given <= bound)


def _enumerated(schema: Schema) -> set[str] | None:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return None if values is None else {str(value) for value in values}


def _alternatives(schema: Schema) -> list[Schema]:
    """With the keywords that stand beside them: a file has a name, and content or an origin."""
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "oneOf"}}
    found = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if "properties" not in rest:
        return found
    return [rest | one | {"required": [*rest.get("required", ()), *one.get("required", ())]} for one in found]


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _name(schema: Schema) -> str:
    return str(schema.get("$ref", schema.get("type", schema.get("const", "anything")))).rsplit("/", 1)[-1]
