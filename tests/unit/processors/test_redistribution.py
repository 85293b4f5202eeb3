"""What is handed back, to whom, and what workers say of their room. No Kafka here."""

import pytest
from confluent_kafka import Message

from processors.queue.redistribution import (
    MAX_HOPS,
    PATIENCE_S,
    AnnouncePolicy,
    Waiting,
    memory_bytes_of,
    one_hop_more,
    redirected,
    redirects,
)
from topics.capacity import Choice, PeerCapacity
from topics.fold import QueuedWork
from topics.kafka.codec import HOPS, Headers, decode, encode, headers
from topics.leases import CapacityReport, PreparedCounts
from topics.submissions.state import Work

NOW_S = 1000.0
LONG_AGO_S = NOW_S - 10
OURS = frozenset({0, 1})


def waiting(id: str = "id", *, since_s: float = LONG_AGO_S, alone: bool = False, hops: int = 0) -> Waiting:
    value = encode(QueuedWork(id=id, attempt=1, alone=alone))
    came_with: Headers = [("ce_id", b"e"), *([(HOPS, str(hops).encode())] if hops else [])]
    return Waiting(Message("queue", 0, 7, id.encode(), value, came_with), since_s)


def board(**free: int) -> PeerCapacity:
    said = PeerCapacity()
    for number, (worker, places) in enumerate(free.items()):
        said.update(
            CapacityReport(worker=worker, partitions=(10 * number, 10 * number + 1), free=places), NOW_S
        )
    return said


def test_as_much_leaves_as_others_have_room_for_and_to_the_one_with_most() -> None:
    moving = redirects(board(some=1, full=0, most=2), [waiting() for _ in range(5)], LONG_AGO_S, NOW_S)
    assert sorted(each.partition // 10 for each in moving) == [0, 2, 2]
    assert moving[0].partition // 10 == 2


def test_what_has_not_waited_long_stays_unless_nothing_moves_here() -> None:
    just_now = waiting(since_s=NOW_S - PATIENCE_S / 2)
    some, full_s = board(other=9), NOW_S - PATIENCE_S / 2
    assert len(redirects(some, [waiting(), just_now], full_s, NOW_S)) == 1
    assert len(redirects(some, [waiting(), just_now], LONG_AGO_S, NOW_S)) == 2


@pytest.mark.parametrize("stays", [waiting(alone=True), waiting(hops=MAX_HOPS)])
def test_what_is_to_be_alone_or_was_moved_often_stays_with_all_behind_it(stays: Waiting) -> None:
    assert len(redirects(board(other=9), [waiting(), stays, waiting()], LONG_AGO_S, NOW_S)) == 1


def test_a_record_that_moves_is_the_same_and_says_how_often_it_did() -> None:
    before = waiting("a", hops=2).message
    record = redirected(before)
    assert record
    assert (record.topic, record.key, record.value) == ("queue", b"a", before.value())
    assert record.headers == [("ce_id", b"e"), (HOPS, b"3")]


def test_what_nobody_can_read_stays_and_becomes_a_dead_letter_here() -> None:
    assert redirected(Message("queue", 0, 7, b"a", b"{", [])) is None
    unreadable_hops = Message("queue", 0, 7, b"a", waiting().message.value(), [(HOPS, b"-1")])
    assert redirected(unreadable_hops) is None
    assert headers(unreadable_hops)


def test_what_was_handed_over_takes_room_until_the_other_can_have_said_so() -> None:
    said = board(other=1)
    assert said.choose(NOW_S) is not None
    assert said.choose(NOW_S + 0.05) is None
    assert said.choose(NOW_S + 0.15) is not None


def test_who_is_silent_or_owns_nothing_has_no_room() -> None:
    said = board(other=1)
    said.update(CapacityReport(worker="new", partitions=(), free=5), NOW_S)
    assert said.free(NOW_S) == 1
    assert said.free(NOW_S + 60) == 0


def test_what_is_told_of_room() -> None:
    policy = AnnouncePolicy()
    assert policy.due(OURS, 2, NOW_S), "the first time"
    policy.announced(OURS, 2, NOW_S)
    assert policy.due(frozenset({0}), 2, NOW_S), "other partitions"
    assert not policy.due(OURS, 2, NOW_S + 1)
    assert policy.due(OURS, 2, NOW_S + 2), "again, for those who are new"
    assert not policy.due(OURS, 1, NOW_S + 0.05)
    assert policy.due(OURS, 1, NOW_S + 0.1), "less room, after a while"


def test_who_is_full_for_a_moment_does_not_say_so_and_who_has_room_again_says_it_at_once() -> None:
    policy = AnnouncePolicy()
    policy.announced(OURS, 2, NOW_S)
    assert not policy.due(OURS, 0, NOW_S + 1)
    assert not policy.due(OURS, 2, NOW_S + 1.02)
    assert not policy.due(OURS, 0, NOW_S + 1.04)
    assert policy.due(OURS, 0, NOW_S + 1.05 + PATIENCE_S)
    policy.announced(OURS, 0, NOW_S + 1.1)
    assert policy.due(OURS, 1, NOW_S + 1.101)


def choice(chosen: Choice | None) -> int | None:
    return chosen and chosen.partition


def sized(**memory_bytes: int | None) -> PeerCapacity:
    """Workers that are full, by the memory that a stage can have with them."""
    said = PeerCapacity()
    for number, (worker, size) in enumerate(memory_bytes.items()):
        said.update(CapacityReport(worker=worker, partitions=(number,), free=0, memory_bytes=size), NOW_S)
    return said


def test_what_is_too_large_here_goes_to_a_worker_that_can_hold_it_also_if_that_is_full() -> None:
    said = sized(small=100, large=200)
    assert said.choose(NOW_S, 150) is None
    assert choice(said.choose(NOW_S, 150, full_too=True)) == 1
    assert said.choose(NOW_S, 201, full_too=True) is None
    assert said.memory_bytes(NOW_S) == 200


def test_a_worker_that_says_nothing_of_memory_is_taken_to_hold_everything() -> None:
    assert choice(sized(old=None).choose(NOW_S, 1 << 40, full_too=True)) == 0


def test_a_full_worker_hands_nothing_to_one_that_cannot_hold_it() -> None:
    said = PeerCapacity()
    said.update(CapacityReport(worker="small", partitions=(0,), free=9, memory_bytes=100), NOW_S)
    assert redirects(said, [waiting()], LONG_AGO_S, NOW_S, lambda _: 101) == []
    assert len(redirects(said, [waiting()], LONG_AGO_S, NOW_S, lambda _: 100)) == 1


def test_a_record_that_cannot_be_decoded_asks_for_no_memory() -> None:
    assert memory_bytes_of(waiting().message, Work) == 0, "a record without a request"
    assert memory_bytes_of(Message("queue", 0, 7, b"id", b"no JSON", []), Work) == 0


def test_a_record_moves_so_often_and_no_more_also_if_it_is_to_be_alone() -> None:
    assert one_hop_more(waiting(alone=True).message)
    assert one_hop_more(waiting(hops=MAX_HOPS).message) is None


def test_records_of_earlier_versions_say_nothing_of_memory() -> None:
    before = b'{"worker":"w","partitions":[0],"free":1}'
    room = decode(CapacityReport, before)
    assert room.memory_bytes is None
    assert encode(room) == before


def test_prepared_sandboxes_of_present_workers_are_added_up() -> None:
    peers = PeerCapacity()
    for worker, hits in (("a", 3), ("b", 4)):
        counts = PreparedCounts(hits=hits, misses=1)
        peers.update(CapacityReport(worker=worker, partitions=(0,), free=0, prepared=counts), NOW_S)
    peers.update(CapacityReport(worker="earlier", partitions=(1,), free=0), NOW_S)
    assert peers.prepared(NOW_S) == PreparedCounts(hits=7, misses=2)
    assert peers.prepared(NOW_S + 60) == PreparedCounts()


def test_what_is_not_due_is_looked_at_again_soon_and_what_is_known_later() -> None:
    policy = AnnouncePolicy()
    policy.announced(OURS, 2, NOW_S)
    assert policy.check_again_s(OURS, 2) > policy.check_again_s(OURS, 0) == PATIENCE_S
