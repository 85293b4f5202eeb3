import itertools

import pytest

from tests.support.polling import at_least, eventually


def test_the_first_value_that_is_enough_is_returned() -> None:
    counts = itertools.count()
    assert eventually(lambda: next(counts), "a true number") == 1
    assert eventually(lambda: range(next(counts)), "items", enough=at_least(4)) == range(4)


def test_the_message_has_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: two records; the last value: \['a'\]"):
        eventually(lambda: ["a"], "two records", 0, enough=at_least(2))
