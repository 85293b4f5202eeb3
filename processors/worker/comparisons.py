"""Comparison of what a program printed with what it should print. Pure.

Each comparison takes time in proportion to the outputs, and memory for one line or token at a time.
"""

import math
import re
from collections.abc import Iterator
from io import BytesIO
from itertools import starmap, zip_longest
from operator import eq, itemgetter

from topics.request.cases import ExactComparison, FloatComparison, LineComparison, TokenComparison

_TOKEN = re.compile(rb"\S+")
NUMBER = rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
"""Regular expression of a decimal number; `float` accepts more, such as `1_000`, `nan` and `infinity`."""
_WHOLE_NUMBER = re.compile(NUMBER)


def is_same(
    printed: bytes,
    expected: bytes,
    comparison: LineComparison | ExactComparison | TokenComparison | FloatComparison,
) -> bool:
    """Return whether two outputs are equal for a comparison."""
    if printed == expected:
        return True
    match comparison:
        case ExactComparison():
            return False
        case LineComparison():
            return all(starmap(eq, zip_longest(_lines(printed), _lines(expected))))
        case TokenComparison():
            return all(starmap(eq, zip_longest(_tokens(printed), _tokens(expected))))
        case FloatComparison():
            pairs = zip_longest(_tokens(printed), _tokens(expected), fillvalue=b"")  # no token is empty
            return all(ours == theirs or _is_close(ours, theirs, comparison) for ours, theirs in pairs)


def _lines(output: bytes) -> Iterator[bytes]:
    """Return the lines without white space at their ends and at the end of the output."""
    return map(bytes.rstrip, BytesIO(output.rstrip()))


def _tokens(output: bytes) -> Iterator[bytes]:
    return map(itemgetter(0), _TOKEN.finditer(output))


def _is_close(printed: bytes, expected: bytes, tolerance: FloatComparison) -> bool:
    ours, theirs = _number(printed), _number(expected)
    if ours is None or theirs is None:
        return printed.lower() == expected.lower()
    return abs(ours - theirs) <= max(tolerance.absolute, tolerance.relative * abs(theirs))


def _number(token: bytes) -> float | None:
    """Return the value of a decimal number; None if it is none, or has no finite value, such as `1e400`."""
    value = float(token) if _WHOLE_NUMBER.fullmatch(token) else math.inf
    return value if math.isfinite(value) else None
