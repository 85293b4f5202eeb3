import json

import pytest

from nix.contents import SmallFile
from nix.errors import DependenciesError
from nix.evaluated import ENVIRONMENT_BYTES, FILES_BYTES, validate


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
        b"[" * 1_000_000,
        b'{"packages":["python3"],"variables":{"A":' + b"1" * 5000 + b"}}",
        b'{"packages":["python3"],"variables":{"A":"\\ud800"}}',
        b"\xff",
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
        result(files=[]),
        result(files={"bin/x": "text"}),
        result(files={"bin/x": {"executable": True}}),
        result(files={"bin/x": {"text": 1}}),
        result(files={"bin/x": {"text": "", "executable": 1}}),
        result(files={"bin/x": {"text": "", "mode": 511}}),
        result(files={"../x": {"text": ""}}),
        result(files={"/etc/passwd": {"text": ""}}),
        result(files={f"f{i}": {"text": ""} for i in range(65)}),
        result(files={"a": {"text": "x" * FILES_BYTES}, "b": {"text": "x"}}),
        result(files={"a": {"text": ""}, "a/b/c": {"text": ""}}),
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


MANY = 300_000


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (result(variables={f"{i} is bad": "" for i in range(MANY)}), "variables.*300000.*256"),
        (result(packages=[f"{i} is bad" for i in range(MANY)]), "packages.*300000.*2000"),
        (result(files={f"{i} is bad": {} for i in range(MANY)}), "files.*300000.*64"),
        (result(files={"a": {f"{i}": "" for i in range(MANY)}}), "files.a"),
        (result(**{f"{i}": "" for i in range(MANY)}), "result"),
        (result(packages=[[f"{i}" for i in range(MANY)]]), "packages.0"),
        (result(variables={"A": [f"{i}" for i in range(MANY)]}), "variables.A"),
        (result(variables={"a " * MANY: ""}), "variables.a a"),
    ],
    ids=["variables", "packages", "files", "of a file", "fields", "in a package", "in a variable", "name"],
)
def test_much_that_is_wrong_is_refused_soon_and_in_few_words(content: bytes, message: str) -> None:
    with pytest.raises(DependenciesError, match=message) as told:
        validate(content)
    assert len(str(told.value)) < 1000


ALONE = f"share/envicutor/{'0' * 32}-x.txt"


def test_small_files_are_taken() -> None:
    files = validate(result(files={"bin/x": {"text": "é", "executable": True}, "a/b": {"text": ""}})).files
    assert files == {"bin/x": SmallFile(text="é", executable=True), "a/b": SmallFile(text="")}


@pytest.mark.parametrize("text", ["/usr/{}", "cat /usr/{}.", "/usr/{0}:/usr/{0}"])
def test_a_file_that_is_mentioned_must_be_there(text: str) -> None:
    mentioned = text.format(ALONE)
    assert validate(result(variables={"A": mentioned}, files={ALONE: {"text": "x"}}))
    with pytest.raises(DependenciesError, match=r"A mentions the file x\.txt.*add it to `packages`"):
        validate(result(variables={"A": mentioned}))
    with pytest.raises(DependenciesError, match="bin/y mentions the file"):
        validate(result(files={"bin/y": {"text": mentioned}}))
