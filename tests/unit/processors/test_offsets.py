"""Which offsets are committed: whatever happens in whatever order, nothing is skipped and nothing stays."""

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from processors.queue.first_deliveries import FirstDeliveries
from processors.queue.offsets import Delivery, Offsets
from topics.kafka.codec import HOPS, Headers

PARTITIONS = st.integers(0, 2)


def message(partition: int, offset: int, headers: Headers | None = None) -> Message:
    return Message("queue", partition, offset, b"id", b"{}", headers or [])


def added(offsets: Offsets[str], offset: int, work: str | None = None) -> Delivery[str]:
    delivery = Delivery(0, offset, work)
    offsets.add(delivery)
    return delivery


def test_only_what_nobody_read_before_us_is_a_first_delivery() -> None:
    ours = FirstDeliveries()
    assert not ours.is_first(message(0, 4), high_watermark=6)
    assert not ours.is_first(message(0, 5), high_watermark=9)
    assert ours.is_first(message(0, 6), high_watermark=9)
    assert not ours.is_first(message(0, 7, [(HOPS, b"1")]), high_watermark=9), "another had it"
    assert not ours.is_first(message(1, 6), high_watermark=7)
    assert not ours.is_first(message(2, 6), high_watermark=-1), "the first one that is read never is"
    ours.forget([0])
    assert not ours.is_first(message(0, 6), high_watermark=9), "another may have been given it meanwhile"


def test_an_offset_is_committed_once_everything_before_it_is_settled() -> None:
    ours: Offsets[str] = Offsets()
    long, short = added(ours, 3, "long"), added(ours, 5, "short")
    dead_letter, last = added(ours, 7), added(ours, 8, "last")
    short.settled = dead_letter.settled = True
    assert ours.committable() == {}
    assert ours.unsettled() == [long, last]
    assert ours.unsettled_to(short) == [long]
    long.settled = True
    assert ours.committable() == {0: 8}
    ours.committed({0: 8})
    assert ours.committable() == {}
    last.settled = True
    assert ours.committable() == {0: 9}


def test_what_could_not_be_committed_is_tried_again() -> None:
    ours: Offsets[str] = Offsets()
    added(ours, 0, "a").settled = True
    before = ours.committable()
    added(ours, 1, "b").settled = True
    assert ours.committable() == {0: 2}
    ours.committed(before)
    assert ours.committable() == {0: 2}


class Committing(RuleBasedStateMachine):
    """Partitions with gaps, which come and go; work that ends or is leased in any order; failing commits."""

    def __init__(self) -> None:
        super().__init__()
        self.ours: Offsets[tuple[int, int]] = Offsets()
        self.ends = [0, 0, 0]
        self.needed: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
        """What was taken and must be given to somebody again, should we die now."""
        self.committed = [0, 0, 0]
        self.taken = [0, 0, 0]

    @rule(partition=PARTITIONS, gap=st.integers(0, 2), work=st.booleans())
    def take(self, partition: int, gap: int, work: bool) -> None:
        offset = self.ends[partition] + gap
        self.ends[partition] = self.taken[partition] = offset + 1
        delivery = Delivery(partition, offset, (partition, offset) if work else None, settled=not work)
        self.ours.add(delivery)
        if work:
            self.needed[partition].add(offset)

    @precondition(lambda self: any(self.needed.values()))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        each = data.draw(st.sampled_from(self.ours.unsettled()))
        each.settled = True
        self.needed[each.partition].remove(each.offset)

    @rule(fails=st.booleans())
    def commit(self, fails: bool) -> None:
        found = self.ours.committable()
        if not fails:
            for partition, offset in found.items():
                assert offset > self.committed[partition], "never again, and never backwards"
                self.committed[partition] = offset
            self.ours.committed(found)
            for partition in range(3):
                assert self.needed[partition] or self.committed[partition] == self.taken[partition]

    @rule(partition=PARTITIONS)
    def revoke(self, partition: int) -> None:
        """Another begins where we committed, and settles it all before we are given it again."""
        self.ours.forget([partition])
        self.needed[partition].clear()
        self.committed[partition] = self.taken[partition] = self.ends[partition]

    @invariant()
    def nothing_needed_is_behind_a_commit(self) -> None:
        for partition, offset in self.ours.committable().items():
            assert all(needed >= offset for needed in self.needed[partition])
        expected = {(p, offset) for p, needed in self.needed.items() for offset in needed}
        assert {each.work for each in self.ours.unsettled()} == expected


TestCommitting = Committing.TestCase


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_what_a_commit_would_lose_is_what_is_before_it_in_its_partition(
    settled: list[bool], data: st.DataObject
) -> None:
    ours: Offsets[str] = Offsets()
    deliveries = [Delivery(1, offset, str(offset), settled=each) for offset, each in enumerate(settled)]
    for delivery in deliveries:
        ours.add(delivery)
    number = data.draw(st.integers(0, len(settled) - 1))
    assert ours.unsettled_to(deliveries[number]) == [
        each for each in deliveries[: number + 1] if not each.settled
    ]
    assert ours.unsettled([0]) == []
