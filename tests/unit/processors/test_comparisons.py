"""Which outputs are equal, in each mode."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.worker.comparisons import is_same
from topics.request.cases import ExactComparison, FloatComparison, LineComparison, TokenComparison

LINES, EXACT, TOKENS = LineComparison(), ExactComparison(mode="exact"), TokenComparison(mode="tokens")
FLOATS = FloatComparison(mode="floats")
COMPARISONS = [LINES, EXACT, TOKENS, FLOATS]


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        (b"3\n", b"3", True),
        (b"3", b"3\n\n\n", True),
        (b"1 \t\r\n2\n", b"1\n2", True),
        (b"", b" \n\t", True),
        (b"a\0 \n", b"a\0", True),
        (b"a\0", b"a", False),
        (b"1\n\n2", b"1\n2", False),
        (b"\n3", b"3", False),
        (b" 3", b"3", False),
        (b"1  2", b"1 2", False),
        (b"3\n4", b"3", False),
        (b"3", b"3\n4", False),
        (b"", b"3", False),
        (b"1\r2", b"1\n2", False),
        (b"A", b"a", False),
        (b"\xff", "\N{REPLACEMENT CHARACTER}".encode(), False),
        (b"a\xc2\xa0", b"a", False),
    ],
)
def test_lines_ignore_white_space_at_ends(printed: bytes, expected: bytes, same: bool) -> None:
    assert is_same(printed, expected, LINES) is same


texts = st.text("a \n\r\t\0", max_size=12).map(str.encode)


@given(texts, texts)
def test_lines_are_compared_as_in_earlier_versions(printed: bytes, expected: bytes) -> None:
    def lines(output: bytes) -> list[bytes]:
        return [line.rstrip() for line in output.rstrip().split(b"\n")]

    assert is_same(printed, expected, LINES) == (lines(printed) == lines(expected))


@pytest.mark.parametrize("comparison", COMPARISONS)
@given(st.binary(max_size=30))
def test_each_output_is_the_same_as_itself(
    comparison: LineComparison | FloatComparison, output: bytes
) -> None:
    assert is_same(output, output, comparison)
    assert not is_same(output + b" x", output + b" y", comparison)


@pytest.mark.parametrize("printed", [b"3", b"3\n\n", b"3 \n", b"3\r\n", b"", b"3\n\0"])
def test_exact_ignores_nothing(printed: bytes) -> None:
    assert not is_same(printed, b"3\n", EXACT)


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        (b" 1\n\n2\t3\r\n", b"1 2 3", True),
        (b"", b"\n \v\f", True),
        (b"1 2", b"12", False),
        (b"1 2 3", b"1 2", False),
        (b"1 2", b"1 2 3", False),
        (b"1\0 2", b"1 2", False),
        (b"1.0", b"1", False),
        (b"A", b"a", False),
        (b"\xff\n\xfe", b"\xff \xfe", True),
        ("1\N{NO-BREAK SPACE}2".encode(), b"1 2", False),
    ],
)
def test_tokens_ignore_how_they_are_arranged(printed: bytes, expected: bytes, same: bool) -> None:
    assert is_same(printed, expected, TOKENS) is same


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        (b"0.3000000001\n", b"0.3", True),
        (b"3e-1 +.3 300e-3 .3E0 0.30", b"0.3 0.3 0.3 0.3 0.3", True),
        (b"0.31", b"0.3", False),
        (b"1000000.5", b"1000000", True),
        (b"1000001.5", b"1000000", False),
        (b"-0", b"0", True),
        (b"-0.0000001", b"0", True),
        (b"1.", b"1", True),
        (b"0.3 x", b"0.30 x", True),
        (b"0.3 yes", b"0.30 YES", True),
        (b"0.3 no", b"0.30 YES", False),
        (b"1 2", b"1", False),
        (b"1", b"1 2", False),
        (b"", b"0", False),
        (b"nan", b"NaN", True),
        (b"nan", b"0", False),
        (b"0", b"nan", False),
        (b"inf", b"INF", True),
        (b"inf", b"infinity", False),
        (b"inf", b"1e400", False),
        (b"1e400", b"1E400", True),
        (b"1e400", b"2e400", False),
        (b"1e308", b"-1e308", False),
        (b"1e-400", b"0", True),
        (b"0x10", b"16", False),
        (b"0X1p4", b"0x1P4", True),
        (b"1_000", b"1000", False),
        (b"1,000", b"1000", False),
        ("\N{ARABIC-INDIC DIGIT ONE}".encode(), b"1", False),
        ("\N{FULLWIDTH DIGIT ONE}".encode(), b"1", False),
        (b"1\0", b"1", False),
        (b"1\xff", b"1", False),
        (b"--1", b"-1", False),
        (b"1e", b"1", False),
        (b".", b"0", False),
        (b"e5", b"0", False),
    ],
)
def test_floats_compare_decimal_numbers_by_value(printed: bytes, expected: bytes, same: bool) -> None:
    assert is_same(printed, expected, FLOATS) is same


def test_tolerances_are_those_of_the_request() -> None:
    strict = FloatComparison(mode="floats", absolute=0, relative=0)
    assert is_same(b"0.50", b"0.5", strict)
    assert not is_same(b"0.5000001", b"0.5", strict)
    assert is_same(b"104", b"100", FloatComparison(mode="floats", absolute=5, relative=0))
    assert not is_same(b"106", b"100", FloatComparison(mode="floats", absolute=5, relative=0))
    assert is_same(b"-104", b"-100", FloatComparison(mode="floats", absolute=0, relative=0.05))
    assert is_same(b"1e308", b"-1e308", FloatComparison(mode="floats", relative=1e308))


def test_numbers_are_compared_as_decimals() -> None:
    tenth = FloatComparison(mode="floats", absolute=0.1, relative=0)
    assert is_same(b"1.1", b"1.0", tenth)
    assert not is_same(b"1.1000000000000000000001", b"1.0", tenth)
    strict = FloatComparison(mode="floats", absolute=0, relative=0)
    assert not is_same(b"9007199254740993", b"9007199254740992", strict)


SIZE = 1 << 18
HUGE = {
    "lines": b"a \n" * (SIZE // 3),
    "tokens": b"1 " * (SIZE // 2),
    "blank": b" " * SIZE,
    "line": b"a " * (SIZE // 2),
    "digits": b"9" * SIZE + b"x",
    "zeros": b"0." + b"0" * SIZE + b"1",
    "exponent": b"1e" + b"9" * SIZE,
    "points": b"." * SIZE,
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.mode)
def test_long_outputs_take_little_time(comparison: LineComparison, name: str) -> None:
    """They would take many minutes if the time grew with the square of their size."""
    started_s = time.process_time()
    is_same(HUGE[name] + b"0", HUGE[name] + b" 1", comparison)
    is_same(HUGE[name].replace(b"1", b"2") + b" 0", HUGE[name] + b" 1", comparison)
    assert time.process_time() - started_s < 5  # takes 0.1 s at most
