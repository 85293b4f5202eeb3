from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nix.dependencies import Expression, Packages, from_json, key

NAMES = st.lists(st.text(min_size=1, max_size=8), max_size=6)


@given(NAMES, st.randoms())
def test_order_and_repetition_do_not_make_other_dependencies(names: list[str], random: Random) -> None:
    shuffled = names + names[:2]
    random.shuffle(shuffled)
    assert key(Packages(tuple(names)), "pin") == key(Packages(tuple(shuffled)), "pin")


@given(st.frozensets(st.text(max_size=8), max_size=4), st.frozensets(st.text(max_size=8), max_size=4))
def test_other_packages_are_other_dependencies(one: frozenset[str], other: frozenset[str]) -> None:
    same = key(Packages(tuple(one)), "pin") == key(Packages(tuple(other)), "pin")
    assert same == (one == other)


def test_pin_system_and_kind_count() -> None:
    packages = Packages(("python3",))
    keys = {
        key(packages, "pin"),
        key(packages, "another pin"),
        key(packages, "pin", "aarch64-linux"),
        key(Expression("python3"), "pin"),
        key(Expression("python3 "), "pin"),
    }
    assert len(keys) == 5


def test_requests_are_read() -> None:
    assert from_json(None) == Packages()
    assert from_json({"packages": ["a", "b"]}) == Packages(("a", "b"))
    assert from_json({"nix": "[ ]"}) == Expression("[ ]")


@pytest.mark.parametrize(
    "value", [{}, {"packages": "a"}, {"packages": [1]}, {"nix": []}, {"packages": [], "nix": ""}, {"x": 1}]
)
def test_anything_else_is_not(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="dependencies are"):
        from_json(value)
