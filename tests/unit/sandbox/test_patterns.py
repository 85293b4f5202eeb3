"""Which files patterns ask for."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.sandbox.patterns import (
    advance,
    first_matched,
    is_match,
    needs_listing,
    plain_names,
    rests_of,
    unmatched,
)


def matched_by(path: str, *patterns: str) -> int | None:
    """Go down to `path` as the walk does; the number of the first pattern that asks for it."""
    rests = rests_of(patterns)
    *folders, name = path.split("/")
    for folder in folders:
        assert needs_listing(rests) or folder in plain_names(rests) or not advance(rests, folder)
        rests = unmatched(advance(rests, folder))
    return first_matched(advance(rests, name))


@pytest.mark.parametrize(
    ("pattern", "path", "asked_for"),
    [
        ("plot.png", "plot.png", True),
        ("plot.png", "a/plot.png", False),
        ("plot.png", "plot_png", False),
        ("*.csv", "a.csv", True),
        ("*.csv", ".csv", True),
        ("*.csv", "out/a.csv", False),
        ("out/*.csv", "out/a.csv", True),
        ("out/*.csv", "out/a/b.csv", False),
        ("a?", "ab", True),
        ("a?", "a", False),
        ("a?", "a\n", True),
        ("a[bc]", "ab", False),
        ("a[bc]", "a[bc]", True),
        ("**/a", "a", True),
        ("**/a", "x/y/a", True),
        ("**/a", "x/a/y", False),
        ("x/**/a", "x/a", True),
        ("x/**/a", "a", False),
        ("**/**/a", "a", True),
        ("out/**", "out/a", True),
        ("out/**", "out/a/b", True),
        ("out/**", "out", False),
        ("**", "a/b/c", True),
        ("a**b", "axyb", True),
        ("**/x/**/y", "x/x/y/y", True),
    ],
)
def test_what_a_pattern_asks_for(pattern: str, path: str, asked_for: bool) -> None:
    assert matched_by(path, pattern) == (0 if asked_for else None)


def test_the_first_pattern_counts() -> None:
    assert matched_by("a.txt", "b.txt", "*.txt", "a.txt") == 1


def test_only_what_is_asked_for_is_looked_at() -> None:
    rests = rests_of(["out/*.csv", "plot.png"])
    assert plain_names(rests) == {"out", "plot.png"}
    assert not needs_listing(rests)
    assert unmatched(advance(rests, "src")) == frozenset()
    assert needs_listing(unmatched(advance(rests, "out")))


def as_expression(pattern: str) -> str:
    """The same by a regular expression, as slow as it may be."""
    wild = {"*": "[^/]*", "?": "[^/]"}
    expression = ""
    components = pattern.split("/")
    for number, component in enumerate(components):
        last = number == len(components) - 1
        if component == "**":
            expression += ".+" if last else "(?:.*/)?"
        else:
            expression += "".join(wild.get(char, re.escape(char)) for char in component)
            expression += "" if last else "/"
    return expression


names = st.text("ab.", min_size=1, max_size=4)
components = st.sampled_from(["**", "*", "?", "a*", "*.b", "a?b"]) | names


@settings(max_examples=300)
@given(st.lists(components, min_size=1, max_size=5), st.lists(names, min_size=1, max_size=5))
def test_a_walk_finds_what_an_expression_would(pattern: list[str], path: list[str]) -> None:
    expected = re.fullmatch(as_expression("/".join(pattern)), "/".join(path)) is not None
    assert (matched_by("/".join(path), "/".join(pattern)) is not None) == expected


@pytest.mark.timeout(30)
def test_no_pattern_takes_exponential_time() -> None:
    assert not is_match("a*" * 120 + "b", "a" * 255)
    assert matched_by("/".join(["a"] * 32), "/".join(["**", "a"] * 15 + ["**", "b"])) is None
