"""What the gateway before the broker reads of requests, and who is admitted."""

import asyncio
import gzip
import struct
import zlib
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError
from hypothesis import example, given
from hypothesis import strategies as st

from infra.kafka.gateway.admission import LOGGING_IN, Admission, NotAdmittedError, RecentNames
from infra.kafka.gateway.groups import group_of
from infra.kafka.gateway.produce import (
    INVALID_RECORD,
    MESSAGE_TOO_LARGE,
    PARTITIONS,
    VERSIONS,
    Produce,
    RecordBatch,
    Refusal,
    read_produce,
    refusal,
    refuse,
)
from infra.kafka.gateway.reader import MalformedError
from infra.kafka.gateway.scram import user_of
from infra.kafka.gateway.settings import GatewaySettings
from infra.kafka.gateway.unpacked import BatchTooLargeError, PackedError, check_unpacked
from topics.request.limits import KiB, MiB

MOST_BYTES = MiB
GZIP, SNAPPY, LZ4, ZSTD = range(1, 5)


def lz4(blocks: bytes, *, block_size: int = 4, end: bytes = bytes(4)) -> bytes:
    return struct.pack("<IBBB", 0x184D2204, 0x60, block_size << 4, 0) + blocks + end


def lz4_block(size: int) -> bytes:
    return struct.pack("<I", size) + b"x" * size


def zstd(blocks: bytes, *, window: int = 0) -> bytes:
    return struct.pack("<IBB", 0xFD2FB528, 0, window) + blocks


def zstd_block(kind: int, size: int, *, last: bool = False) -> bytes:
    header = (size << 3 | kind << 1 | last).to_bytes(3, "little")
    return header + b"x" * (1 if kind == 1 else size)


def snappy_java(*sizes: int) -> bytes:
    blocks = (struct.pack(">i", 3) + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F, 0]) for size in sizes)
    return b"\x82SNAPPY\x00" + bytes(8) + b"".join(blocks)


def short(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        (0, b"x" * MOST_BYTES),
        (GZIP, gzip.compress(bytes(MOST_BYTES))),
        (SNAPPY, b"\x80\x80\x40rest"),
        (SNAPPY, snappy_java(100, 200)),
        (LZ4, lz4(lz4_block(10) * 16)),
        (LZ4, lz4(lz4_block(10), block_size=6)),
        (ZSTD, zstd(zstd_block(2, 10) * 7 + zstd_block(2, 10, last=True))),
        (ZSTD, zstd(zstd_block(0, 100) + zstd_block(1, 1 << 17, last=True))),
    ],
    ids=short,
)
def test_what_fits_passes(codec: int, payload: bytes) -> None:
    check_unpacked(codec, payload, MOST_BYTES)


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        (0, b"x" * (MOST_BYTES + 1)),
        (GZIP, gzip.compress(bytes(MOST_BYTES + 1))),
        (SNAPPY, b"\x81\x80\x40rest"),
        (SNAPPY, snappy_java(*[16_000] * 70)),
        (LZ4, lz4(lz4_block(10) * 17)),
        (LZ4, lz4(lz4_block(10), block_size=7)),
        (ZSTD, zstd(zstd_block(2, 10) * 8 + zstd_block(2, 10, last=True))),
        (ZSTD, zstd(zstd_block(1, (1 << 21) - 1, last=True))),
        (ZSTD, zstd(zstd_block(0, 1, last=True), window=0x88)),
    ],
    ids=short,
)
def test_what_does_not_fit_is_too_large(codec: int, payload: bytes) -> None:
    with pytest.raises(BatchTooLargeError):
        check_unpacked(codec, payload, MOST_BYTES)


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        (5, b""),
        (GZIP, gzip.compress(b"x")[:-1]),
        (GZIP, gzip.compress(b"x") + gzip.compress(b"y")),
        (GZIP, zlib.compress(b"x")),
        (SNAPPY, b""),
        (SNAPPY, b"\xff" * 6),
        (SNAPPY, snappy_java(100)[:-1]),
        (LZ4, lz4(lz4_block(10), end=b"")),
        (LZ4, lz4(lz4_block(10)) + b"x"),
        (ZSTD, zstd(zstd_block(0, 10))),
        (ZSTD, zstd(zstd_block(0, 10, last=True)) + b"x"),
        (ZSTD, zstd(zstd_block(3, 10, last=True))),
        (ZSTD, zstd(zstd_block(0, 0) * 5_000)),
    ],
    ids=short,
)
def test_what_is_no_whole_frame_is_refused(codec: int, payload: bytes) -> None:
    with pytest.raises(PackedError) as refused:
        check_unpacked(codec, payload, MOST_BYTES)
    assert not isinstance(refused.value, BatchTooLargeError)


@given(codec=st.integers(0, 7), payload=st.binary(max_size=200))
@example(codec=SNAPPY, payload=b"\x82SNAPPY\x00" + bytes(20))
def test_any_bytes_are_accepted_or_refused(codec: int, payload: bytes) -> None:
    starts = {LZ4: b"\x04\x22\x4d\x18", ZSTD: b"\x28\xb5\x2f\xfd"}
    for given_payload in (payload, starts.get(codec, b"") + payload):
        with suppress(PackedError):
            check_unpacked(codec, given_payload, KiB)


def a_batch(payload: bytes = b"", *, codec: int = 0, count: int = 1, magic: int = 2) -> bytes:
    rest = struct.pack(">ibIhiqqqhii", 0, magic, 0, codec, 0, 0, 0, -1, -1, -1, count) + payload
    return struct.pack(">qi", 0, len(rest)) + rest


def request(version: int, records: bytes, *, topics: int = 1) -> bytes:
    """A request to produce to partition 3, as clients encode it."""
    start = struct.pack(">hhih", 0, version, 77, 2) + b"me"
    if version < 9:
        topic = struct.pack(">h", 1) + b"t" + struct.pack(">iii", 1, 3, len(records)) + records
        return start + struct.pack(">hhii", -1, -1, 1000, topics) + topic * topics
    name = b"\x02t" if version < 13 else bytes(16)
    size = len(records) + 1
    length = bytes([size & 0x7F | 0x80, size >> 7])
    topic = name + b"\x02" + struct.pack(">i", 3) + length + records + b"\0\0"
    return start + b"\0\0" + struct.pack(">hi", -1, 1000) + bytes([topics + 1]) + topic * topics + b"\0"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_read(version: int) -> None:
    produce = read_produce(request(version, a_batch(b"x" * 100)))
    topic = b"\0\1t" if version < 9 else b"\2t" if version < 13 else bytes(16)
    assert produce == Produce(version, 77, -1, (RecordBatch(topic, 3, a_batch(b"x" * 100)),))
    assert refusal(produce, KiB) is None
    cut = read_produce(request(version, a_batch(b"x" * 100))[:60], cut=True)
    assert (cut.batches[0].topic, cut.batches[0].partition) == (topic, 3)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_cut_short_or_has_too_much_is_malformed(version: int) -> None:
    whole = request(version, a_batch(b"x" * 100))
    for malformed in (
        whole[:-1],
        whole[:20],
        whole + b"x",
        request(version, a_batch(), topics=PARTITIONS + 1),
    ):
        with pytest.raises(MalformedError):
            read_produce(malformed)


@given(version=st.integers(-1, 15), rest=st.binary(max_size=100))
def test_any_request_is_read_or_malformed(version: int, rest: bytes) -> None:
    with suppress(MalformedError):
        read_produce(struct.pack(">hhi", 0, version, 1) + rest)


@pytest.mark.parametrize(
    ("records", "code"),
    [
        (a_batch(b"x" * KiB), MESSAGE_TOO_LARGE),
        (a_batch(count=100_001), MESSAGE_TOO_LARGE),
        (a_batch(gzip.compress(bytes(17 * MiB))[:900], codec=GZIP), INVALID_RECORD),
        (a_batch(b"x", codec=6), INVALID_RECORD),
        (a_batch(magic=1), INVALID_RECORD),
        (a_batch()[:-1], INVALID_RECORD),
        (a_batch() + a_batch(), INVALID_RECORD),
        (b"", INVALID_RECORD),
    ],
    ids=short,
)
def test_batches_that_the_broker_must_not_see(records: bytes, code: int) -> None:
    found = refusal(Produce(9, 1, -1, (RecordBatch(b"\2t", 0, records),)), KiB)
    assert found is not None
    assert found.code == code
    assert KafkaError(code).str()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refusal_names_the_place_and_the_reason(version: int) -> None:
    produce = read_produce(request(version, a_batch()))
    response = refuse(produce, Refusal(MESSAGE_TOO_LARGE, "why"))
    (size, correlation_id) = struct.unpack_from(">ii", response)
    assert (size, correlation_id) == (len(response) - 4, 77)
    assert produce.batches[0].topic in response
    assert struct.pack(">ih", 3, MESSAGE_TOO_LARGE) in response
    assert (b"why" in response) == (version >= 8)


def test_one_more_login_than_there_may_be_ends_the_oldest_of_the_address_with_most() -> None:
    async def run() -> None:
        admission = Admission(GatewaySettings())
        forever = asyncio.Event()

        async def client(address: str) -> None:
            task = asyncio.current_task()
            assert task
            with admission.logging_in(task, address):
                await forever.wait()

        flood = [asyncio.create_task(client("attacker")) for _ in range(LOGGING_IN - 1)]
        others = [asyncio.create_task(client(f"other-{number}")) for number in range(3)]
        await asyncio.sleep(0.01)
        assert [task.cancelled() for task in others] == [False] * 3
        assert [task.cancelled() for task in flood] == [True] * 2 + [False] * (LOGGING_IN - 3)
        forever.set()
        await asyncio.gather(*flood, *others, return_exceptions=True)

    asyncio.run(run())


def test_names_of_a_user_are_counted_while_they_are_kept() -> None:
    names = RecentNames(2, kept_s=10)
    assert [names.admit("one", name, 0) for name in (1, 2, 3, 1)] == [True, True, False, True]
    assert names.admit("two", 3, 0), "another user"
    assert not names.admit("one", 3, 9)
    assert names.admit("one", 1, 9)
    assert names.admit("one", 3, 10), "2 is forgotten"
    assert not names.admit("one", 2, 11)


@pytest.mark.parametrize(
    ("key", "version", "name"),
    [(8, 7, b"\0\2me"), (8, 8, b"\3me"), (11, 5, b"\0\2me"), (11, 6, b"\3me"), (68, 0, b"\3me")],
)
def test_the_group_of_a_request_is_read(key: int, version: int, name: bytes) -> None:
    tags = b"\0" if name[0] else b""
    start = struct.pack(">hhih", key, version, 1, -1) + tags
    assert group_of(start + name + b"more") == b"me"
    with pytest.raises(MalformedError):
        group_of(start + name[:-1])
    assert group_of(struct.pack(">hhih", 3, version, 1, -1)) is None


def login(message: bytes, *, client_id: bytes = b"client", flexible: bool = False) -> bytes:
    header = struct.pack(">hhih", 36, 2 if flexible else 1, 1, len(client_id)) + client_id
    if flexible:
        return header + b"\0" + bytes([len(message) + 1]) + message + b"\0"
    return header + struct.pack(">i", len(message)) + message


@pytest.mark.parametrize("flexible", [False, True])
def test_the_user_of_a_login_is_the_one_that_the_broker_verifies(flexible: bool) -> None:
    frame = login(b"n,,n=me,r=nonce,x=n,a=b,n=other,r=", client_id=b"n,,n=other,r=", flexible=flexible)
    assert user_of(frame, flexible=flexible) == "me"


@pytest.mark.parametrize(
    "message", [b"", b"p=x,,n=me,r=nonce", b"n,,m=x,n=me,r=nonce", b"c=biws,r=n,,n=me,r="]
)
def test_a_login_without_a_user_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedError):
        user_of(login(message), flexible=False)


def test_users_and_all_together_have_so_many_connections() -> None:
    admission = Admission(GatewaySettings(connections=3, connections_per_user=2))
    with admission.logged_in("one"), admission.logged_in("one"):
        with pytest.raises(NotAdmittedError, match="'one' has 2"), admission.logged_in("one"):
            pass
        refused = pytest.raises(NotAdmittedError, match="are 3")
        with admission.logged_in("two"), refused, admission.logged_in("two"):
            pass
    with admission.logged_in("one"):
        pass


def test_a_request_with_many_tagged_fields_is_not_read() -> None:
    """A step for each of a million would stall all clients of the gateway."""
    start = struct.pack(">hhih", 0, 9, 1, -1)
    with pytest.raises(MalformedError, match="tagged fields"):
        read_produce(start + b"\xc0\x84\x3d" + b"\x05\x00" * 1_000_000)
