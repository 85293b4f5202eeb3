"""Which offsets are committed: whatever happens in whatever order, nothing is skipped and nothing stays."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from processors.queue.offsets import Offsets

PARTITIONS = st.integers(0, 2)


def offsets(*over: str) -> Offsets[str]:
    return Offsets(over.__contains__)


def test_only_what_nobody_read_before_us_is_a_first_delivery() -> None:
    ours = offsets()
    assert not ours.is_first_delivery(0, offset=4, high_watermark=6)
    assert not ours.is_first_delivery(0, offset=5, high_watermark=9)
    assert ours.is_first_delivery(0, offset=6, high_watermark=9)
    assert not ours.is_first_delivery(1, offset=6, high_watermark=7)
    assert not ours.is_first_delivery(2, offset=6, high_watermark=-1), "the first one that is read never is"
    ours.forget([0])
    assert not ours.is_first_delivery(0, offset=6, high_watermark=9), (
        "another may have been given it meanwhile"
    )


def test_an_offset_is_committed_once_everything_before_it_is_settled() -> None:
    over: set[str] = set()
    ours = Offsets(over.__contains__)
    for offset, work in ((3, "long"), (5, "short"), (7, None), (8, "last")):
        ours.take(0, offset, work, now_s=float(offset))
    over.add("short")
    assert ours.committable() == {}
    [oldest] = ours.unsettled(until_s=3.0)
    assert oldest.work == "long"
    oldest.settled = True
    assert ours.committable() == {0: 8}
    ours.committed({0: 8})
    assert ours.committable() == {}
    over.add("last")
    assert ours.committable() == {0: 9}


def test_what_could_not_be_committed_is_tried_again() -> None:
    ours = offsets("a", "b")
    ours.take(0, 0, "a", now_s=0.0)
    before = ours.committable()
    ours.take(0, 1, "b", now_s=0.0)
    assert ours.committable() == {0: 2}
    ours.committed(before)
    assert ours.committable() == {0: 2}


class Committing(RuleBasedStateMachine):
    """Partitions with gaps, which come and go; work that ends or is leased in any order; failing commits."""

    def __init__(self) -> None:
        super().__init__()
        self.over: set[tuple[int, int]] = set()
        self.ours: Offsets[tuple[int, int]] = Offsets(self.over.__contains__)
        self.ends = [0, 0, 0]
        self.needed: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
        """What was taken and must be given to somebody again, should we die now."""
        self.committed = [0, 0, 0]
        self.taken = [0, 0, 0]

    @rule(partition=PARTITIONS, gap=st.integers(0, 2), work=st.booleans())
    def take(self, partition: int, gap: int, work: bool) -> None:
        offset = self.ends[partition] + gap
        self.ends[partition] = self.taken[partition] = offset + 1
        self.ours.take(partition, offset, (partition, offset) if work else None, now_s=0.0)
        if work:
            self.needed[partition].add(offset)

    @precondition(lambda self: any(self.needed.values()))
    @rule(data=st.data(), leased=st.booleans())
    def settle(self, data: st.DataObject, leased: bool) -> None:
        each = data.draw(st.sampled_from(self.ours.unsettled()))
        if leased:
            each.settled = True
        else:
            self.over.add(each.work)
        partition, offset = each.work
        self.needed[partition].remove(offset)

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


@given(st.lists(st.floats(0, 10), max_size=5), st.floats(0, 10), PARTITIONS)
def test_what_is_leased_in_time_is_what_was_taken_first(
    ages: list[float], until_s: float, other: int
) -> None:
    ours = offsets()
    for offset, since_s in enumerate(sorted(ages)):
        ours.take(1, offset, str(offset), since_s)
    old = [each.since_s for each in ours.unsettled([1], until_s=until_s)]
    assert old == [since_s for since_s in sorted(ages) if since_s <= until_s]
    assert bool(ours.unsettled([other])) == (other == 1 and bool(ages))
