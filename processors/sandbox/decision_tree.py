"""Programs of classic BPF for system call filters, compiled from a decision on what a call is.

The kernel looks at each instruction when a filter is installed, and follows the program for each number of a
call (`seccomp_cache_prepare` in kernel/seccomp.c). So a short program of short paths is cheap to install:
comparisons with the bounds of ranges, in a balanced tree.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

WORD = 0xFFFFFFFF
"""Mask of a whole word of 32 bits."""
NUMBER, ARCHITECTURE = 0, 4
"""Offsets in bytes of words of `struct seccomp_data` (linux/seccomp.h)."""
_ARGUMENTS = 16
"""Offset in bytes of the first argument, of 64 bits each."""
_LOAD, _MASK, _JUMP, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x05, 0x35, 0x06
"""Codes of instructions (linux/filter.h); the first loads a word of `struct seccomp_data`."""
_FARTHEST = 253
"""Number of instructions that a conditional jump may skip: the kernel's 255 and room for two more jumps."""

Decision: TypeAlias = "int | Branch"
"""Return value of a filter (SECCOMP_RET_* with its data), or a further distinction."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Decision by the range in which a word of the call is."""

    word: int
    """Offset of the word in `struct seccomp_data`, in bytes."""
    ranges: tuple[tuple[int, Decision], ...]
    """First number and decision of each range, in order from 0 on."""
    mask: int = WORD
    """Bits of the word that count."""


def by_word(
    word: int,
    values: Mapping[int, Decision],
    other: Decision,
    mask: int = WORD,
    above: Mapping[int, Decision] = MappingProxyType({}),
) -> Decision:
    """Return a decision by the value of a word, with that for all values that are not in the mapping.

    `above` has the first values, in order, of ranges above all `values`.
    """
    ranges: list[tuple[int, Decision]] = [(0, other)]
    for value in sorted(values):
        ranges += [(value, values[value]), (value + 1, other)]
    ranges += above.items()
    merged: list[tuple[int, Decision]] = []
    for start, decision in dict(ranges).items():  # of two ranges with the same start the first is empty
        if start <= WORD and not (merged and merged[-1][1] == decision):
            merged.append((start, decision))
    return Branch(word, tuple(merged), mask) if len(merged) > 1 else other


def by_bits(argument: int, values: Mapping[int, Decision], other: Decision, mask: int = WORD) -> Decision:
    """Return a decision by the lower 32 bits of an argument, as the kernel takes an `int`; it ignores others.

    Only the bits of `mask` count.
    """
    return by_word(_ARGUMENTS + 8 * argument, values, other, mask)


def by_argument(argument: int, values: Mapping[int, Decision], other: Decision) -> Decision:
    """Return a decision by all 64 bits of an argument; the values have 32 bits at most."""
    upper = _ARGUMENTS + 8 * argument + 4  # of a little-endian machine
    return by_word(upper, {0: by_bits(argument, values, other)}, other)


def compile_decision(decision: Decision) -> bytes:
    """Return the program, an array of `struct sock_filter`."""
    program = _Program()
    program.add(decision)
    return program.encode()


class _Program:
    """Program that is written from its end, because jumps lead forward only.

    A place is the number of instructions from an instruction, including it, to the end.
    """

    def __init__(self) -> None:
        self._reversed: list[tuple[int, int, int, int]] = []
        self._places: dict[int | Branch, int] = {}
        """Last written copy of each decision."""

    def add(self, decision: Decision) -> int:
        """Write the instructions for a decision, unless a jump reaches earlier ones; return their place."""
        place = self._places.get(decision)
        if place is not None and self._skipped(place) <= _FARTHEST:
            return place
        if isinstance(decision, int):
            place = self._append(_RETURN, decision)
        elif place is not None:
            place = self._append(_JUMP, self._skipped(place))
        else:
            place = self._add_branch(decision)
        self._places[decision] = place
        return place

    def _add_branch(self, branch: Branch) -> int:
        self._add_tree(branch.ranges)
        if branch.mask != WORD:
            self._append(_MASK, branch.mask)
        return self._append(_LOAD, branch.word)

    def _add_tree(self, ranges: Sequence[tuple[int, Decision]]) -> int:
        """Write comparisons with the bounds between ranges; the word is loaded before."""
        if len(ranges) == 1:
            return self.add(ranges[0][1])
        middle = len(ranges) // 2
        above = self._add_tree(ranges[middle:])
        below = self._add_tree(ranges[:middle])
        above, below = self._near(above), self._near(below)
        return self._append(_JUMP_IF_AT_LEAST, ranges[middle][0], self._skipped(above), self._skipped(below))

    def _near(self, place: int) -> int:
        """Return a place that jumps reach, and from which the program gets to `place`."""
        if self._skipped(place) <= _FARTHEST:
            return place
        return self._append(_JUMP, self._skipped(place))

    def _skipped(self, place: int) -> int:
        """Return how many instructions a jump to `place` skips if it is written now."""
        return len(self._reversed) - place

    def _append(self, code: int, value: int, if_true: int = 0, if_false: int = 0) -> int:
        self._reversed.append((code, if_true, if_false, value))
        return len(self._reversed)

    def encode(self) -> bytes:
        return b"".join(struct.pack("<HBBI", *instruction) for instruction in reversed(self._reversed))
