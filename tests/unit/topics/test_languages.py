"""The table of presets, and what a request takes from it."""

import json
import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from topics.kafka.codec import encode
from topics.request.errors import FieldError, InvalidRequestError
from topics.request.languages import LanguageNames, Preset, chosen, find, presets
from topics.request.limits import CompileLimits, Limits, MiB
from topics.request.model import Dependencies, SubmissionRequest
from topics.request.parsing import content_hash, parse_request

PRESETS = list(presets().values())
PLACEHOLDERS = ("{source}", "{stem}", "{memory_mib}")


def parse(**fields: Any) -> SubmissionRequest:
    return parse_request(json.dumps(fields).encode(), MiB)[0]


def refused(**fields: Any) -> FieldError:
    with pytest.raises(InvalidRequestError) as refusal:
        parse(**fields)
    (error,) = refusal.value.errors
    return error


def sources(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "content": ""} for name in names]


def test_names_and_suffixes_are_unique() -> None:
    assert len(PRESETS) >= 18
    assert [*presets()] == sorted(preset.name for preset in PRESETS)
    suffixes = [suffix for preset in PRESETS for suffix in preset.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(re.fullmatch(r"\.[A-Za-z0-9+]+", suffix) for suffix in suffixes)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_each_preset_makes_a_whole_request(preset: Preset) -> None:
    request = parse(language=preset.name, files=[{"name": preset.source_file, "content": preset.hello}])
    assert (request.language, request.dependencies) == (preset.name, preset.dependencies)
    assert (request.compile is None) == (preset.compile is None)
    commands = f"{preset.compile} {preset.run}"
    assert "{source}" in commands
    assert {*re.findall(r"(?<!\$)\{\w*\}", commands)} <= {*PLACEHOLDERS}
    assert not any(place in f"{request.compile} {request.run}" for place in PLACEHOLDERS)
    assert "{memory_mib}" not in f"{preset.shown_compile} {preset.shown_run}"
    assert preset.title.count("{version}") == 1
    assert preset.version_package
    assert not preset.suffixes or preset.source_file.endswith(preset.suffixes)
    again = SubmissionRequest.read(encode(request))
    assert again == request  # the limits are among those that a request may have


def test_a_request_has_what_its_language_gives() -> None:
    raw = {"language": "cpp", "files": sources("main.cpp")}
    request, given_hash = parse_request(json.dumps(raw).encode(), MiB)
    assert request.dependencies == Dependencies(packages=("g++",))
    assert request.compile == "g++ -O2 -std=c++17 -o main main.cpp"
    assert request.run == './main "$@"'
    assert given_hash == content_hash(raw)


@pytest.mark.parametrize(
    ("names", "source"),
    [
        (["a.py"], "a.py"),
        (["a.py", "main.py"], "main.py"),
        (["b.py", "a.py"], "b.py"),
        (["data.txt", "a.py"], "a.py"),
        (["program"], "program"),
        (["my folder/it's.py"], """'my folder/it'"'"'s.py'"""),
        (["-c.py"], "./-c.py"),
    ],
)
def test_the_source_is_the_file_of_the_expected_name_or_the_first(names: list[str], source: str) -> None:
    assert parse(language="python", files=sources(*names)).run == f'python3 {source} "$@"'


def test_a_class_of_java_has_the_name_of_its_file() -> None:
    request = parse(language="java", files=sources("src/Solution.java"))
    assert str(request.compile).endswith("-d classes src/Solution.java")
    assert str(request.run).endswith('-cp classes "$(basename src/Solution)" "$@"')


def test_what_the_request_gives_overrides() -> None:
    own: dict[str, Any] = {
        "dependencies": {"packages": ["g++-11"]},
        "compile": ["make"],
        "run": "./other",
        "env": {"GOCACHE": "/box/go"},
    }
    request = parse(language="go", files=sources("main.go"), **own)
    assert request.dependencies == Dependencies(packages=("g++-11",))
    assert (request.compile, request.run) == (("make",), "./other")
    assert request.env == {**find("go").env, "GOCACHE": "/box/go"}


def test_limits_of_a_preset_are_for_those_that_the_request_does_not_set() -> None:
    assert parse(language="java", files=sources("Main.java")).limits == find("java").limits
    limits = {"run": {"memory_bytes": 256 * MiB}, "compile": {"cpus": 2}}
    request = parse(language="java", files=sources("Main.java"), limits=limits)
    assert (request.limits.run.memory_bytes, request.limits.run.processes) == (256 * MiB, 256)
    assert request.limits.compile == CompileLimits(cpus=2)
    assert "-Xmx$((256 * 3 / 4))m" in str(request.run)
    assert parse(language="python", files=sources("main.py")).limits == Limits()


def test_without_a_language_nothing_changes() -> None:
    assert parse(run="true") == SubmissionRequest(run="true")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("pyhton", "python"),
        ("js", "javascript"),
        ("c++", "cpp"),
        ("cplusplus", "cpp"),
        ("golang", "go"),
        ("sql", "sqlite"),
        ("zzz", None),
    ],
)
def test_an_unknown_language_is_refused_with_the_nearest(name: str, near: str | None) -> None:
    error = refused(language=name, files=sources("a"))
    assert error.field == "language"
    advice = f"; the nearest is {near!r}" if near else f": there are {', '.join(presets())}"
    assert error.message == f"there is no language {name!r} in `GET /languages`{advice}"


def test_a_source_is_needed_unless_no_command_uses_it() -> None:
    error = refused(language="cpp")
    assert (error.field, "'main.cpp'" in error.message) == ("files", True)
    assert refused(language="cpp", run="./main").field == "files"
    assert parse(language="python", run="python3 -c 0").run == "python3 -c 0"
    assert parse(language="c", compile="true", run="gcc --version").files == ()


def test_all_stands_for_all_languages() -> None:
    assert chosen(["all", "c"]) == tuple(PRESETS)
    assert chosen(["c", "python", "c"]) == (find("c"), find("python"))
    assert chosen([]) == ()
    names: TypeAdapter[tuple[str, ...]] = TypeAdapter(LanguageNames)
    assert names.validate_python(["all", "c"]) == ("all", "c")
    with pytest.raises(ValidationError, match="the nearest is 'python'"):
        names.validate_python(["c", "pythn"])
