"""Which bytes are requests, and what identifies one."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topics.request.errors import InvalidRequestError, NotJsonError, RequestTooLargeError
from topics.request.limits import MiB
from topics.request.model import SubmissionRequest
from topics.request.parsing import content_hash, parse_request

HASHED = '{"run":"true"}'


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"run=true", b"{'run': 1}", b"\xff\xfe", b'{"run": "\\ud800"}', b"[" * 100_000]
)
def test_what_is_not_json_is_told_so(raw: bytes) -> None:
    with pytest.raises(NotJsonError):
        parse_request(raw, MiB)


@pytest.mark.parametrize("raw", [b"[]", b'"run"', b"null", b"1"])
def test_json_that_is_no_object_is_no_request(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        parse_request(raw, MiB)
    assert not isinstance(refusal.value, NotJsonError)


def test_sizes_are_bounded_before_anything_else() -> None:
    raw = HASHED.encode()
    assert parse_request(raw, len(raw))
    with pytest.raises(RequestTooLargeError) as refusal:
        parse_request(raw, len(raw) - 1)
    assert refusal.value.errors[0].limit == len(raw) - 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from([*SubmissionRequest.model_fields, "x"]), json_values, max_size=4))
def test_nothing_but_a_refusal_is_raised(body: dict[str, Any]) -> None:
    with suppress(InvalidRequestError):
        parse_request(json.dumps(body).encode(), MiB)


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=50)
@given(st.dictionaries(st.text(), json_values, max_size=4), st.text())
def test_hash_counts_neither_id_nor_order_of_keys(body: dict[str, Any], id: str) -> None:
    assert content_hash(body) == content_hash(reordered(body)) == content_hash(body | {"id": id})


@settings(max_examples=50)
@given(st.dictionaries(st.text(), json_values, max_size=3), st.text(), json_values)
def test_hash_counts_everything_else(body: dict[str, Any], name: str, value: Any) -> None:
    changed = body | {name: value}
    same = json.dumps({**changed, "id": 0}, sort_keys=True) == json.dumps({**body, "id": 0}, sort_keys=True)
    assert (content_hash(changed) == content_hash(body)) == same


def test_hash_is_of_the_request_as_sent() -> None:
    """Defaults may change later without turning a retry into a conflict."""
    plain, spelt_out = (parse_request(raw, MiB) for raw in (b'{"run":"x"}', b'{"run":"x","files":[]}'))
    assert plain[0] == spelt_out[0]
    assert plain[1] != spelt_out[1]
    assert parse_request(b' {"id": "a", "run" : "x"}', MiB)[1] == plain[1]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"run":"true","files":[' + b",".join([b"1"] * 500_000) + b"]}",
        b'{"run":"true","' + b"x" * 1_000_000 + b'":1}',
        json.dumps({"run": "true", "files": [{"name": "x" * 1_000_000, "content": ""}]}).encode(),
    ],
)
def test_what_is_said_of_a_bad_request_is_bounded(raw: bytes) -> None:
    """A million errors would fit into no record, and stop the request handler for ever."""
    with pytest.raises(InvalidRequestError) as raised:
        parse_request(raw, 4 * MiB)
    assert 0 < sum(len(error.model_dump_json()) for error in raised.value.errors) < 200_000
