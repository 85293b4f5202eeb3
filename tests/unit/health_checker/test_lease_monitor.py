from itertools import pairwise
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from processors.health_checker.lease_monitor import Held, Late, LeaseMonitor, TableChange
from topics.leases import Lease, Tick

MARK = "mine"
TIMEOUT_S = 10.0
PERIOD_S = 1.0


def monitor(*held: Held, timeout_s: float = TIMEOUT_S) -> LeaseMonitor:
    return LeaseMonitor(held, mark=MARK, timeout_s=timeout_s, tick_period_s=PERIOD_S)


def said(
    kind: Literal["taken", "renewed", "released"], id: str = "a", attempt: int = 1, worker: str = "w"
) -> Lease:
    return Lease(kind=kind, id=id, attempt=attempt, worker=worker)


def late_at(monitor: LeaseMonitor, now_s: float, mark: str = MARK) -> tuple[Late, ...]:
    outcome = monitor.tick(Tick(mark=mark), now_s)
    return outcome.late if outcome else ()


def tick_until(monitor: LeaseMonitor, start_s: int, end_s: int) -> dict[int, tuple[Late, ...]]:
    """Judges every second; what was late when."""
    outcomes = {now_s: late_at(monitor, now_s) for now_s in range(start_s, end_s + 1)}
    return {now_s: late for now_s, late in outcomes.items() if late}


def test_is_late_once_its_worker_was_not_heard_of_for_the_timeout() -> None:
    leases = monitor()
    leases.observe(said("taken"), 0.0)
    assert min(tick_until(leases, 0, 12)) == 11


def test_a_renewal_starts_its_time_anew() -> None:
    leases = monitor()
    leases.observe(said("taken"), 0.0)
    assert not tick_until(leases, 0, 9)
    leases.observe(said("renewed"), 9.5)
    assert min(tick_until(leases, 10, 25)) == 20


def test_is_late_until_it_is_removed() -> None:
    leases = monitor(Held("a", 1, "w"))
    late = tick_until(leases, 0, 12)
    assert late == dict.fromkeys((11, 12), (Late("a", 1, ("w",)),))
    assert leases.remove(late[12][0]) == TableChange(removed=(Held("a", 1, "w"),))
    assert not tick_until(leases, 13, 40)
    assert len(leases) == 0


def test_a_foreign_mark_is_never_judged_on_and_moves_no_clock() -> None:
    leases = monitor()
    leases.observe(said("taken"), 0.0)
    for second in range(100):
        assert leases.tick(Tick(mark="another's"), float(second)) is None
    assert leases.tick(Tick(mark=MARK), 100.0) == ((), True)


def test_the_first_tick_starts_all_clocks() -> None:
    leases = monitor(Held("a", 1, "w"))
    leases.observe(said("taken", id="b"), 1.0)
    assert min(tick_until(leases, 1000, 1020)) == 1011


def test_silence_starts_all_clocks() -> None:
    leases = monitor(Held("a", 1, "w"))
    assert not tick_until(leases, 0, 10)
    outcome = leases.tick(Tick(mark=MARK), 13.0)
    assert outcome == ((), True)
    assert min(tick_until(leases, 14, 40)) == 24


def test_a_clock_that_was_set_back_starts_all_clocks() -> None:
    leases = monitor(Held("a", 1, "w"))
    leases.tick(Tick(mark=MARK), 1_000_000.0)
    leases.observe(said("renewed"), 1_000_000.5)
    assert min(tick_until(leases, 0, 20)) == 11


def test_a_clock_that_was_set_back_and_forth_between_two_ticks_makes_nobody_late() -> None:
    leases = monitor()
    leases.observe(said("taken"), 100.0)
    assert not tick_until(leases, 100, 109)
    leases.observe(said("renewed"), 79.5)
    assert min(tick_until(leases, 110, 125)) == 120


def test_a_late_tick_within_two_periods_is_no_silence() -> None:
    leases = monitor(Held("a", 1, "w"))
    late = [late_at(leases, 2.0 * n) for n in range(7)]
    assert late == [(), (), (), (), (), (), (Late("a", 1, ("w",)),)]


def test_two_workers_on_one_attempt_one_alive() -> None:
    leases = monitor()
    leases.observe(said("taken", worker="dead"), 0.0)
    leases.observe(said("taken", worker="alive"), 0.0)
    for second in range(60):
        leases.observe(said("renewed", worker="alive"), float(second))
        assert not late_at(leases, float(second))


def test_two_workers_on_one_attempt_both_dead_is_said_once() -> None:
    leases = monitor()
    leases.observe(said("taken", worker="v"), 0.0)
    assert not tick_until(leases, 0, 5)
    leases.observe(said("taken", worker="w"), 5.0)
    late = tick_until(leases, 6, 16)
    assert late == {16: (Late("a", 1, ("v", "w")),)}
    assert leases.remove(late[16][0]).removed == (Held("a", 1, "v"), Held("a", 1, "w"))


def test_a_release_removes_only_its_own_entry() -> None:
    leases = monitor()
    for worker in ("v", "w"):
        leases.observe(said("taken", worker=worker), 0.0)
    assert leases.observe(said("released", worker="v"), 1.0) == TableChange(removed=(Held("a", 1, "v"),))
    assert tick_until(leases, 0, 11) == {11: (Late("a", 1, ("w",)),)}


def test_releases_of_what_is_not_held_change_nothing() -> None:
    leases = monitor(Held("a", 2, "w"))
    for released in (
        said("released", id="b"),
        said("released", attempt=1),
        said("released", attempt=3),
        said("released", attempt=2, worker="v"),
    ):
        assert leases.observe(released, 0.0) == TableChange()
    assert len(leases) == 1


def test_only_the_highest_attempt_counts() -> None:
    leases = monitor()
    assert leases.observe(said("taken", attempt=1, worker="v"), 0.0).added == (Held("a", 1, "v"),)
    assert not tick_until(leases, 0, 1)
    change = leases.observe(said("taken", attempt=2, worker="w"), 1.5)
    assert change == TableChange(added=(Held("a", 2, "w"),), removed=(Held("a", 1, "v"),))
    late: dict[int, tuple[Late, ...]] = {}
    for second in range(2, 13):
        assert leases.observe(said("renewed", attempt=1, worker="v"), float(second)) == TableChange()
        late |= tick_until(leases, second, second)
    assert late == {12: (Late("a", 2, ("w",)),)}


def test_the_highest_attempt_of_the_table_counts_in_any_order() -> None:
    held = [Held("a", 1, "v"), Held("a", 3, "w"), Held("a", 2, "x"), Held("a", 3, "y")]
    for order in (held, held[::-1]):
        late = tick_until(monitor(*order), 0, 11)[11]
        assert [(each.id, each.attempt, sorted(each.workers)) for each in late] == [("a", 3, ["w", "y"])]


def test_only_a_new_lease_is_written_to_the_table() -> None:
    leases = monitor(Held("a", 1, "w"))
    assert leases.observe(said("taken"), 0.0) == TableChange()  # read again after an assignment
    assert leases.observe(said("renewed"), 1.0) == TableChange()
    assert leases.observe(said("renewed", id="b"), 1.0) == TableChange(added=(Held("b", 1, "w"),))


leases = st.builds(
    Lease,
    kind=st.sampled_from(["taken", "renewed", "released"]),
    id=st.sampled_from(["a", "b"]),
    attempt=st.sampled_from([1, 2]),
    worker=st.sampled_from(["v", "w"]),
)
own_ticks = st.just(Tick(mark=MARK))
foreign_ticks = st.just(Tick(mark="another's"))
steps_s = st.sampled_from([0.1, *[1.0] * 5, *[2.0] * 10, 2.1, 30.0])
SHORT_S = 3.0  # so that somebody is late in many of the logs
logs = st.lists(st.tuples(st.one_of(leases, foreign_ticks, *[own_ticks] * 3), steps_s), max_size=60)


@given(logs)
def test_nobody_is_late_who_was_heard_of_within_the_timeout(log: list[tuple[Lease | Tick, float]]) -> None:
    """Whatever the log says: the late were silent, and were ticked at all that time without a gap."""
    checker, now_s = monitor(timeout_s=SHORT_S), 1000.0
    heard_s, own_ticks_s = dict[Held, float](), list[float]()
    for record, step_s in log:
        now_s += step_s
        if isinstance(record, Lease):
            checker.observe(record, now_s)
            heard_s[Held(record.id, record.attempt, record.worker)] = now_s
            continue
        outcome = checker.tick(record, now_s)
        assert (outcome is not None) == (record.mark == MARK)
        if outcome is None:
            continue
        own_ticks_s.append(now_s)
        for late in outcome.late:
            assert all(now_s - heard_s[held] > SHORT_S for held in late.held())
            watched = [tick for tick in own_ticks_s if tick >= now_s - SHORT_S]
            assert own_ticks_s[0] < now_s - SHORT_S
            assert all(after - before <= 2 * PERIOD_S for before, after in pairwise(watched))


@given(logs)
def test_everybody_who_falls_silent_is_late_in_the_end(log: list[tuple[Lease | Tick, float]]) -> None:
    """Exactly the leases of the table: none is forgotten that was neither released nor declared dead."""
    checker, table, now_s = monitor(timeout_s=SHORT_S), set[Held](), 1000.0

    def apply(change: TableChange) -> None:
        assert table.issuperset(change.removed)
        assert table.isdisjoint(change.added)
        table.difference_update(change.removed)
        table.update(change.added)

    for record, step_s in log:
        now_s += step_s
        if isinstance(record, Lease):
            apply(checker.observe(record, now_s))
        else:
            outcome = checker.tick(record, now_s)
            for late in outcome.late if outcome else ():
                apply(checker.remove(late))
    silent = {held for late in tick_until(checker, 3000, 3011).get(3011, ()) for held in late.held()}
    assert silent == table
    restarted = monitor(*table)  # another process takes over: the same will be late
    assert {held for late in tick_until(restarted, 0, 11).get(11, ()) for held in late.held()} == table
