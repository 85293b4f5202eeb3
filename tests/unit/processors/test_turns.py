"""Turns of owners, and how many submissions are enqueued."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from processors.store.turns import _LEAST, _STALE_S, Turn, Turns

NOW_S = 100.0


def turn(id: str, owner: str = "a", *, partition: int = 0, interactive: bool = False) -> Turn:
    return Turn(partition, id, owner, interactive, "", maybe_enqueued=False)


def waiting(*turns: Turn) -> Turns:
    made = Turns()
    for each in turns:
        made.add(each)
    return made


def surplus(turns: Turns, workers: int = 0, share: float = 1.0, now_s: float = NOW_S) -> int:
    return turns.surplus(workers=workers, share=share, now_s=now_s)


def taken(turns: Turns, number: int) -> list[str]:
    return [turns.take(NOW_S).id for _ in range(number)]


def test_owners_take_turns_and_each_keeps_its_order() -> None:
    turns = waiting(*(turn(f"a{n}") for n in range(3)), turn("b0", "b"), turn("c0", "c"), turn("b1", "b"))
    assert taken(turns, 6) == ["a0", "b0", "c0", "a1", "b1", "a2"]
    assert len(turns) == 0


def test_a_new_owner_is_next_after_those_that_have_turns() -> None:
    turns = waiting(*(turn(f"a{n}") for n in range(5_000)))
    assert taken(turns, 3) == ["a0", "a1", "a2"]
    turns.add(turn("b0", "b"))
    assert "b0" in taken(turns, 2)


def test_of_one_owner_those_whose_client_waits_go_first_but_for_every_fourth_turn() -> None:
    turns = waiting(turn("batch0"), turn("batch1"), *(turn(f"now{n}", interactive=True) for n in range(5)))
    assert taken(turns, 7) == ["now0", "now1", "now2", "batch0", "now3", "now4", "batch1"]


def test_the_queue_holds_a_little_more_than_workers_have_room_for() -> None:
    turns = waiting(*(turn(str(n)) for n in range(100)))
    assert surplus(turns, workers=9) == 9
    assert surplus(turns, workers=9, share=0.5) == 5
    taken(turns, 9)
    assert surplus(turns, workers=9) == 0
    for id in range(5):
        turns.remove(str(id), NOW_S)
    assert surplus(turns, workers=3) == 3 + 5 - 4, "as many as were started within a moment"
    assert surplus(turns, workers=9, now_s=NOW_S + 1) == 9 - 4
    assert surplus(turns, workers=3, now_s=NOW_S + 30) == 0, "long programs do not fill the queue"


def test_workers_that_publish_nothing_get_a_few() -> None:
    turns = waiting(*(turn(str(n)) for n in range(10)))
    assert surplus(turns) == _LEAST
    taken(turns, _LEAST)
    assert surplus(turns) == 0
    assert surplus(turns, now_s=NOW_S + _STALE_S) == _LEAST, "records may be lost"


def test_what_ends_while_it_waits_has_no_turn() -> None:
    turns = waiting(turn("a"), turn("b", "b"))
    turns.remove("a", NOW_S)
    turns.remove("unknown", NOW_S)
    assert taken(turns, len(turns)) == ["b"]


def test_what_is_on_the_queue_is_not_added_again() -> None:
    turns = waiting(turn("a"))
    taken(turns, 1)
    turns.add(turn("a"))
    assert len(turns) == 0


def test_partitions_that_are_gone_are_forgotten() -> None:
    turns = waiting(turn("a"), turn("b", partition=1), turn("c"))
    taken(turns, 1)
    turns.forget([0])
    assert taken(turns, len(turns)) == ["b"]
    turns.add(turn("a"))
    assert len(turns) == 1, "its new owner may have enqueued it, or not"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=40))
def test_every_submission_gets_its_turn_once(steps: Iterable[tuple[str, bool, bool]]) -> None:
    turns, added, found = Turns(), list[str](), list[str]()
    for number, (owner, interactive, takes) in enumerate(steps):
        added.append(str(number))
        turns.add(turn(str(number), owner, interactive=interactive))
        if takes and len(turns):
            found += taken(turns, 1)
    found += taken(turns, len(turns))
    assert sorted(found) == sorted(added)
