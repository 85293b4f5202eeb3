"""Which JSON has too many values to be parsed, and which objects too many members to be validated."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topics.request.errors import InvalidRequestError
from topics.request.json_bounds import (
    CONTAINERS,
    MEMBERS,
    VALUES,
    StructureError,
    UnbalancedError,
    check_structure,
    crowded_objects,
)
from topics.request.limits import MiB
from topics.request.parsing import MAX_FIELD_ERRORS, parse_request


@pytest.mark.parametrize(
    "body",
    [
        {"run": "x" * MiB},
        {"run": '[{,"\\' * 100_000},
        {"run": "\\" * 100_001},
        ["x"] * (VALUES - 1),
        [[]] * (CONTAINERS - 1),
    ],
)
def test_what_a_string_holds_counts_as_one_value(body: object) -> None:
    check_structure(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (["x"] * (VALUES + 1), VALUES),
        ([[]] * (CONTAINERS + 1), CONTAINERS),
        ([{}] * (CONTAINERS + 1), CONTAINERS),
        ({str(number): "x" for number in range(VALUES + 1)}, VALUES),
        (['\\"'] * (VALUES + 1), VALUES),
        (["\\"] * (VALUES + 1), VALUES),
    ],
)
def test_more_values_than_any_request_has_are_refused(body: object, limit: int) -> None:
    with pytest.raises(StructureError, match=str(limit)) as refused:
        check_structure(json.dumps(body).encode())
    assert refused.value.limit == limit
    check_structure(json.dumps(body).encode(), scale=2)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"[{" * 50_000 + b"]}" * 40_000])
def test_too_many_brackets_that_do_not_match_are_not_json(raw: bytes) -> None:
    with pytest.raises(UnbalancedError):
        check_structure(raw)


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_any_bytes_are_judged(raw: bytes) -> None:
    try:
        check_structure(raw * CONTAINERS)
    except (StructureError, UnbalancedError):
        return


def test_objects_of_many_members_are_named() -> None:
    many = dict.fromkeys(map(str, range(MEMBERS + 1)), 0)
    assert list(crowded_objects({"limits": {"run": many}, "files": [{}, many]})) == [
        ("files.1", MEMBERS + 1),
        ("limits.run", MEMBERS + 1),
    ]
    assert list(crowded_objects({"a": dict.fromkeys(map(str, range(MEMBERS)), 0), "b": [[]]})) == []


def test_variables_are_as_many_as_one_likes() -> None:
    env = {f"A{number}": "" for number in range(1000)}
    assert len(parse_request(json.dumps({"run": "true", "env": env}).encode(), MiB)[0].env) == 1000


def test_errors_are_counted_where_they_are_not_told() -> None:
    unknown = {f"field{number}": 1 for number in range(25)}
    with pytest.raises(InvalidRequestError) as refused:
        parse_request(json.dumps({"run": "true"} | unknown).encode(), MiB)
    assert len(refused.value.errors) == MAX_FIELD_ERRORS + 1
    assert str(refused.value).endswith("; and 5 more")


def test_the_text_of_all_errors_together_is_bounded() -> None:
    unknown = {f"{number}{'x' * 10_000}": 1 for number in range(20)}
    with pytest.raises(InvalidRequestError) as refused:
        parse_request(json.dumps({"run": "true"} | unknown).encode(), MiB)
    assert len(str(refused.value)) < 25_000
    assert " more" in str(refused.value)
