"""The filter decides as libseccomp's program of the same rules does."""

import itertools
import random
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyseccomp as libseccomp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.sandbox.decision_tree import (
    ARCHITECTURE,
    NUMBER,
    WORD,
    by_argument,
    by_word,
    compile_decision,
)
from processors.sandbox.seccomp import CLONE_NEW, LAST_SYSCALL, X32, decide
from tests.unit.sandbox.libseccomp_filter import make_program

ARCHITECTURES = [libseccomp.system_arch(), libseccomp.Arch.X86, libseccomp.Arch.AARCH64, 0, WORD]
FIRST_ARGUMENT, ARGUMENT_BYTES = 16, 8

Instruction = tuple[int, int, int, int]
Words = Mapping[int, int]
"""Words of `struct seccomp_data` by offset; those that are missing are zero."""


def decode(program: bytes) -> list[Instruction]:
    return list(struct.iter_unpack("<HBBI", program))


def run(program: Sequence[Instruction], words: Words) -> int:
    """Return what a program returns, as the kernel executes it."""
    position, register = 0, 0
    while True:
        code, if_true, if_false, value = program[position]
        position += 1
        if code == 0x06:
            return value
        if code == 0x20:
            register = words.get(value, 0)
        elif code == 0x54:
            register &= value
        elif code == 0x05:
            position += value
        else:
            met = {
                0x15: register == value,
                0x25: register > value,
                0x35: register >= value,
                0x45: register & value != 0,
            }[code]
            position += if_true if met else if_false


class Programs(NamedTuple):
    """Both programs of the filter's rules."""

    ours: list[Instruction]
    reference: list[Instruction]

    def compare(self, words: Words) -> None:
        first, second = run(self.ours, words), run(self.reference, words)
        assert first == second, (hex(first), hex(second), words)


@pytest.fixture(scope="module")
def programs() -> Programs:
    return Programs(decode(compile_decision(decide())), decode(make_program()))


def test_it_is_much_shorter(programs: Programs) -> None:
    assert len(programs.ours) < len(programs.reference) / 4


def test_each_number_of_each_architecture_is_decided_alike(programs: Programs) -> None:
    numbers = [*range(LAST_SYSCALL + 2), X32 - 1, *range(X32, X32 + 600), WORD - 1, WORD]
    for architecture, number in itertools.product(ARCHITECTURES, numbers):
        programs.compare({NUMBER: number, ARCHITECTURE: architecture})


FLAGS = [0, *(1 << bit for bit in range(33)), CLONE_NEW]
PAIRS_OF_FLAGS = [one | other for one in FLAGS for other in FLAGS]
NUMBERS = [*range(130), 255, 256, WORD]
FEW_NUMBERS = [*range(18), 57, 58, 59, 255]


@pytest.mark.parametrize(
    ("name", "arguments", "lower_words"),
    [
        ("clone", [0], PAIRS_OF_FLAGS),
        ("fcntl", [1], NUMBERS),
        ("prctl", [0], NUMBERS),
        ("prlimit64", [0, 2], NUMBERS),
        ("setsockopt", [1, 2], NUMBERS),
        ("socket", [0, 1, 2], FEW_NUMBERS),
        ("socketpair", [0], NUMBERS),
    ],
)
def test_all_classes_of_arguments_are_decided_alike(
    programs: Programs, name: str, arguments: list[int], lower_words: list[int]
) -> None:
    number = libseccomp.resolve_syscall(libseccomp.system_arch(), name)
    values = [lower | upper << 32 for upper in (0, 1) for lower in lower_words]
    for combination in itertools.product(values, repeat=len(arguments)):
        programs.compare(_call(number, dict(zip(arguments, combination, strict=True))))


def test_random_arguments_are_decided_alike(programs: Programs) -> None:
    rng = random.Random(1)
    for number in range(LAST_SYSCALL + 1):
        for bits in (2, 5, 8, 32, 64):
            programs.compare(_call(number, {argument: rng.getrandbits(bits) for argument in range(6)}))


def _call(number: int, arguments: Mapping[int, int]) -> Words:
    call = {NUMBER: number, ARCHITECTURE: libseccomp.system_arch()}
    for argument, value in arguments.items():
        offset = FIRST_ARGUMENT + ARGUMENT_BYTES * argument
        call |= {offset: value & WORD, offset + 4: value >> 32}
    return call


_values = st.dictionaries(st.integers(0, WORD), st.integers(1, 3), max_size=20)


@given(_values, st.sets(st.integers(0, WORD)))
def test_a_tree_finds_the_decision_for_each_value(values: Mapping[int, int], others: set[int]) -> None:
    program = decode(compile_decision(by_word(NUMBER, values, 0)))
    neighbours = {value + step & WORD for value in values for step in (-1, 1)}
    for number in {*others, *values, *neighbours}:
        assert run(program, {NUMBER: number}) == values.get(number, 0)


def test_a_large_tree_has_jumps_that_no_comparison_could_make() -> None:
    large = by_argument(0, {value: value for value in range(2, 600, 2)}, 1)
    program = decode(compile_decision(by_word(NUMBER, {3: large, 5: 7, 600: large}, 0)))
    for number, value in itertools.product((2, 3, 4, 5, 600), range(700)):
        even = value if value % 2 == 0 and 2 <= value < 600 else 1
        expected = even if number in (3, 600) else 7 if number == 5 else 0
        assert run(program, {NUMBER: number, FIRST_ARGUMENT: value}) == expected
