import json

import pytest

from nix.errors import DependenciesError
from nix.evaluation import ENVIRONMENT_BYTES, validate


def result(**changes: object) -> bytes:
    return json.dumps({"packages": ["python3"], "variables": {"A": "b\nc"}} | changes).encode()


def test_plain_packages_and_variables_are_taken() -> None:
    evaluated = validate(result())
    assert evaluated.packages == ["python3"]
    assert evaluated.variables == {"A": "b\nc"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"packages":["python3"]}',
        b'{"packages":["python3"],"variables":{}}{}',
        result(builder="/bin/sh"),
        result(packages="python3"),
        result(packages=[1]),
        result(packages=[["python3"]]),
        result(packages=["../../etc"]),
        result(packages=["/nix/store/x"]),
        result(packages=["-o"]),
        result(packages=["Python3"]),
        result(packages=["a\n"]),
        result(packages=["a" * 201]),
        result(packages=["a"] * 2001),
        result(variables=[]),
        result(variables={"A": 1}),
        result(variables={"A": None}),
        result(variables={"A": {"x": "y"}}),
        result(variables={"A": "a\0b"}),
        result(variables={"A=B": "c"}),
        result(variables={"A\n": "c"}),
        result(variables={"": "c"}),
        result(variables={"1": "c"}),
        result(variables={f"A{i}": "" for i in range(257)}),
        result(variables={"A": "x" * (ENVIRONMENT_BYTES + 1)}),
        result(variables={"A": "x" * (ENVIRONMENT_BYTES // 2), "B": "x" * (ENVIRONMENT_BYTES // 2)}),
    ],
)
def test_nothing_else_is(content: bytes) -> None:
    with pytest.raises(DependenciesError):
        validate(content)


def test_the_message_names_the_place() -> None:
    with pytest.raises(DependenciesError, match=r"packages\.1"):
        validate(result(packages=["python3", "../x"]))
