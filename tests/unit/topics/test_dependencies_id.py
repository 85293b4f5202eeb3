from random import Random

from hypothesis import given
from hypothesis import strategies as st

from topics.dependencies import dependencies_id
from topics.request.model import Dependencies

PIN, SYSTEM = "pin", "x86_64-linux"
names = st.lists(st.text(min_size=1, max_size=5), max_size=5)


def id_of(*packages: str, pin: str = PIN, system: str = SYSTEM) -> str:
    return dependencies_id(Dependencies(packages=packages), pin, system)


@given(names, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(packages: list[str], random: Random) -> None:
    again = [*packages, *packages]
    random.shuffle(again)
    assert id_of(*packages) == id_of(*again)


@given(names, names)
def test_other_packages_are_another_id(one: list[str], other: list[str]) -> None:
    assert (id_of(*one) == id_of(*other)) == (set(one) == set(other))


def test_the_package_set_and_the_system_count() -> None:
    assert len({id_of("a"), id_of("a", pin="other"), id_of("a", system="aarch64-linux")}) == 3


def test_an_expression_is_not_the_packages_that_it_names() -> None:
    expression = dependencies_id(Dependencies(nix="[ a ]"), PIN, SYSTEM)
    spaced = dependencies_id(Dependencies(nix="[  a ]"), PIN, SYSTEM)
    assert len({expression, spaced, id_of("a"), id_of("[ a ]")}) == 4


def test_ids_are_those_of_earlier_versions() -> None:
    """They name what lies in caches."""
    assert id_of("python3", "bash") == "79485c2ac734daa581c4011efd418902"
