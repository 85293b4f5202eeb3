"""Mutants are what ships with a few lines replaced, and fail loudly once these are not there."""

import sys

import pytest

from processors.store.commit_policy import LINGER_S
from tests.simulator.patches import Patch, Shipped, shipped

POLICY = "processors.store.commit_policy"
LINGERS = Patch(POLICY, "LINGER_S = 0.1\n", "LINGER_S = 1.0\n")


def test_a_patch_changes_the_module_and_those_that_import_it_alone() -> None:
    before = sys.modules[POLICY]
    mutant = Shipped((LINGERS,))
    assert mutant.module(POLICY).LINGER_S == 1.0
    store = mutant.module("processors.store.submission_store")
    assert store.LINGER_S == 1.0
    assert mutant.module("processors.store.processor").CommitPolicy is mutant.module(POLICY).CommitPolicy
    assert (LINGER_S, sys.modules[POLICY]) == (0.1, before)


def test_without_patches_it_is_what_ships() -> None:
    assert shipped().module(POLICY) is sys.modules[POLICY]


@pytest.mark.parametrize("old", ["not there", "def "])
def test_text_that_is_not_there_once_is_a_failure(old: str) -> None:
    with pytest.raises(AssertionError, match="so the mutant is none"):
        Shipped((Patch(POLICY, old, ""),)).module(POLICY)


def test_only_what_ships_is_patched() -> None:
    with pytest.raises(AssertionError):
        Patch("tests.simulator.world", "", "").apply("")
