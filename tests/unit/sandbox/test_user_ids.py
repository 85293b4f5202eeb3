"""Which user ids boxes can have."""

import pytest

from processors.sandbox.user_ids import is_mapped


@pytest.mark.parametrize(
    ("id_map", "mapped"),
    [
        ("         0          0 4294967295\n", True),
        ("0 100000 1050\n", False),
        ("0 100000 1000\n1000 200000 100\n", True),
        ("0 100000 1000\n1000 200000 99\n", False),
        ("0 1 1050\n1050 0 1\n1051 1051 64485\n", True),
        ("0 1 1050\n1051 1051 64485\n", False),
        ("", False),
    ],
)
def test_ids_of_a_user_namespace(id_map: str, mapped: bool) -> None:
    assert is_mapped(range(1000, 1100), id_map) is mapped
