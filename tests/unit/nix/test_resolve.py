from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nix.contents import manifest
from nix.errors import DependenciesError
from nix.index import Index
from nix.resolve import closure, debian_names, nearest
from tests.unit.nix.packages import NAMES, make_index, of_graph, paragraph

Graph = dict[str, list[str]]
LETTERS = st.sampled_from("abcdefgh")
GROUPS = st.lists(LETTERS, min_size=1, max_size=2, unique=True).map(" | ".join)
GRAPHS = st.fixed_dictionaries({name: st.lists(GROUPS, max_size=3) for name in "abcdefgh"})


def names_of(roots: list[str], index: Index) -> list[str]:
    return [package.name for package in closure(roots, index)]


@given(GRAPHS, st.lists(LETTERS, min_size=1), st.randoms())
def test_the_same_packages_are_the_same_environment(graph: Graph, roots: list[str], random: Random) -> None:
    index = of_graph(graph)
    first = closure(roots, index)
    everything = [package.name for package in first]
    random.shuffle(everything)
    assert manifest(closure(everything, index)) == manifest(first)


@given(GRAPHS, st.lists(LETTERS, min_size=1))
def test_a_closure_has_all_that_is_needed_once(graph: Graph, roots: list[str]) -> None:
    found = names_of(roots, of_graph(graph))
    assert len(found) == len(set(found))
    assert set(roots) <= set(found)
    assert all(set(group.split(" | ")) & set(found) for name in found for group in graph[name])


@given(st.data())
def test_without_cycles_dependencies_come_first(data: st.DataObject) -> None:
    order = "abcdefgh"
    graph = {
        name: data.draw(st.lists(st.sampled_from(order[:i]), max_size=3)) if i else []
        for i, name in enumerate(order)
    }
    found = names_of(list(order), of_graph(graph))
    assert all(found.index(needed) < found.index(name) for name in order for needed in graph[name])


def test_a_chain_longer_than_the_interpreter_recurses() -> None:
    graph = {f"p{i}": [f"p{i + 1}"] for i in range(3000)} | {"p3000": []}
    assert len(names_of(["p0"], of_graph(graph))) == 3001


def test_an_alternative_that_was_asked_for_is_taken() -> None:
    index = make_index(
        paragraph("a", Depends="b | c"), paragraph("b"), paragraph("c"), paragraph("d", Provides="b")
    )
    assert names_of(["a"], index) == ["b", "a"]
    assert names_of(["a", "c"], index) == ["c", "a"]


def test_a_provided_name_is_its_best_provider_or_the_one_asked_for() -> None:
    index = make_index(
        paragraph("a", Depends="awk"), paragraph("mawk", Provides="awk"), paragraph("gawk", Provides="awk")
    )
    assert names_of(["a"], index) == ["gawk", "a"]
    assert names_of(["a", "mawk"], index) == ["mawk", "a"]
    assert names_of(["awk", "mawk"], index) == ["mawk"]


def test_something_that_nobody_has_is_named() -> None:
    index = make_index(paragraph("a", Depends="b | c"))
    with pytest.raises(DependenciesError, match="a needs b or c, which is not in the package set"):
        closure(["a"], index)


INDEX = make_index(
    *map(paragraph, ["base", "g++", "gcc", "one", "python3-numpy", "python3-pil", "python3.11"])
)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("one", ["one"]),
        ("python3-numpy", ["python3-numpy"]),
        ("python3.11", ["python3.11"]),
        ("python3Packages.numpy", ["python3-numpy"]),
        ("python3Packages.pillow", ["python3-pil"]),
        ("gcc", ["g++"]),
        ("two", ["one", "g++"]),
    ],
)
def test_names_mean(name: str, meaning: list[str]) -> None:
    assert debian_names([name], INDEX, NAMES) == meaning


@pytest.mark.parametrize(
    "name", ["", ".", "..", "x/y", "python3Packages", "python3Packages.", "one.one", "\ud800"]
)
def test_names_that_mean_nothing(name: str) -> None:
    with pytest.raises(DependenciesError, match="there is no package"):
        debian_names(["one", name], INDEX, NAMES)


def test_all_unknown_names_are_told_with_what_they_may_mean() -> None:
    with pytest.raises(DependenciesError) as told:
        debian_names(["pyton3-numpy", "one", "numpy", "zzzzzzzz"], INDEX, NAMES)
    assert str(told.value).splitlines() == [
        "there is no package 'pyton3-numpy'; did you mean python3-numpy, python3-pil?",
        "there is no package 'numpy'; did you mean python3Packages.numpy (python3-numpy)?",
        "there is no package 'zzzzzzzz'",
    ]


def test_members_of_sets_are_near() -> None:
    assert nearest("python3Packages.nunpy", INDEX, NAMES) == ["python3Packages.numpy"]
    assert nearest("nunpy", INDEX, NAMES) == ["python3Packages.numpy"]
