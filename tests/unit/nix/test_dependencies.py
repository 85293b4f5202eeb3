import pytest

from nix.dependencies import Expression, Packages, Pinned, from_json


def test_requests_are_read() -> None:
    assert from_json(None) == Packages()
    assert from_json({"packages": ["a", "b"]}) == Packages(("a", "b"))
    assert from_json({"nix": "[ ]"}) == Expression("[ ]")
    assert from_json({"pypi": ["a==1"]}) == Packages((), Pinned(("a==1",)))
    assert from_json({"nix": "[ ]", "npm": ["a@1.0.0"]}) == Expression("[ ]", Pinned(npm=("a@1.0.0",)))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"packages": "a"},
        {"packages": [1]},
        {"nix": []},
        {"packages": [], "nix": ""},
        {"pypi": "a"},
        {"x": 1},
    ],
)
def test_anything_else_is_not(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="dependencies are"):
        from_json(value)
