import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.health_checker.records import MAX_ATTEMPT, MAX_NAME_LENGTH, read, tick_record
from topics.kafka.codec import DecodeError, encode
from topics.leases import Lease, Tick

LEASE = {"kind": "taken", "id": "a", "attempt": 1, "worker": "w"}


def lease(**changes: object) -> bytes:
    return json.dumps(LEASE | changes).encode()


def test_reads_what_workers_and_checkers_write() -> None:
    taken = Lease(kind="taken", id="a", attempt=1, worker="w")
    assert read(b"a", encode(taken)) == taken
    tick = tick_record("leases", "mark", "worker-health-checker/1")
    assert tick.key is None
    assert isinstance(tick.value, bytes)
    assert read(None, tick.value) == Tick(mark="mark")
    assert dict(tick.headers)["ce_type"] == b"envicutor.lease.tick.v1"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, None),
        (None, b""),
        (b"a", None),
        (b"a", b"not json"),
        (b"a", b"\xff\xfe"),
        (b"a", b"[]"),
        (b"a", b"[" * 100_000),
        (b"a", b"{}"),
        (b"a", lease(kind="stolen")),
        (b"a", lease(kind=None)),
        (b"a", lease(more=1)),
        (b"a", lease(attempt="1")),
        (b"a", lease(attempt=True)),
        (b"a", lease(attempt=1.0)),
        (b"a", lease(attempt=0)),
        (b"a", lease(attempt=-1)),
        (b"a", lease(attempt=MAX_ATTEMPT + 1)),
        (b"a", lease(attempt=10**400)),
        (b"a", lease(worker="")),
        (b"a", lease(worker="w" * (MAX_NAME_LENGTH + 1))),
        (b"a", lease(worker="\ud800")),
        (b"a", lease(worker=None)),
        (b"", lease(id="")),
        (b"b", lease()),
        (None, lease()),
        (b"\xff", lease()),
        (b"a" * (MAX_NAME_LENGTH + 1), lease(id="a" * (MAX_NAME_LENGTH + 1))),
        (None, b'{"kind": "tick"}'),
        (None, b'{"kind": "tick", "mark": 1}'),
    ],
)
def test_refuses_everything_else(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(DecodeError):
        read(key, value)


@given(
    st.none() | st.binary(),
    st.none()
    | st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*LEASE, "mark"]), inner),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_nothing_else_is_raised(key: bytes | None, value: bytes | None) -> None:
    with suppress(DecodeError):
        read(key, value)
