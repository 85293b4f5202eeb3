"""Comparison of what a program printed with what it should print. Pure.

Each comparison takes time in proportion to the outputs, and memory for one line or token at a time.
"""

import math
import re
from collections.abc import Iterator
from decimal import Context, Decimal
from io import BytesIO
from itertools import starmap, zip_longest
from operator import eq, itemgetter

from topics.request.cases import ExactComparison, FloatComparison, LineComparison, TokenComparison

_TOKEN = re.compile(rb"\S+")
NUMBER = rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
"""Regular expression of a decimal number; `float` accepts more, such as `1_000`, `nan` and `infinity`."""
_WHOLE_NUMBER = re.compile(NUMBER)
_NUMBER_BYTES = 1000
"""Longest number; a longer token is compared as a word, since arithmetic with it would take long."""
_DECIMALS = Context(prec=2 * _NUMBER_BYTES)
"""Precision in which sums of two numbers of that length are exact, if their exponents are not far apart."""


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
            # As decimals: in binary, 1.1 differs from 1.0 by more than 0.1, and large integers equal others.
            absolute, relative = (
                Decimal(repr(bound)) for bound in (comparison.absolute, comparison.relative)
            )
            return all(one == other or _is_close(one, other, absolute, relative) for one, other in pairs)


def _lines(output: bytes) -> Iterator[bytes]:
    """Return the lines without white space at their ends and at the end of the output."""
    return map(bytes.rstrip, BytesIO(output.rstrip()))


def _tokens(output: bytes) -> Iterator[bytes]:
    return map(itemgetter(0), _TOKEN.finditer(output))


def _is_close(printed: bytes, expected: bytes, absolute: Decimal, relative: Decimal) -> bool:
    ours, theirs = _number(printed), _number(expected)
    if ours is None or theirs is None:
        return printed.lower() == expected.lower()
    return abs(_DECIMALS.subtract(ours, theirs)) <= max(absolute, _DECIMALS.multiply(relative, abs(theirs)))


def _number(token: bytes) -> Decimal | None:
    """Return the value of a decimal number; None if it is none, or beyond a double, such as `1e400`."""
    if len(token) > _NUMBER_BYTES or not _WHOLE_NUMBER.fullmatch(token) or math.isinf(float(token)):
        return None
    return _DECIMALS.create_decimal(token.decode())
