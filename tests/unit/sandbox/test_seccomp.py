"""What rules of the filter are made of."""

from hypothesis import given
from hypothesis import strategies as st

from processors.sandbox.seccomp import all_but, covering


@given(st.sets(st.integers(0, 63), min_size=1))
def test_masks_match_each_number_but_the_exceptions(values: set[int]) -> None:
    masks = list(all_but(values, bits=6))
    matched = {number for number in range(64) for mask, left in masks if number & mask == left}
    assert matched == set(range(64)) - values


@given(st.sets(st.integers(0, 63), min_size=1), st.integers(0, 2**64 - 1))
def test_covering_masks_match_just_the_values(values: set[int], other: int) -> None:
    masks = list(covering(values))
    matched = {n for n in (*range(64), other) for mask, left in masks if n & mask == left}
    assert matched == values
