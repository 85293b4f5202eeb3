"""Attacks on the sandbox: a module is a family, a row of its table a program made to do harm."""

import pytest

pytest.register_assert_rewrite("tests.system.hostile.arena", "tests.system.hostile.attack")
