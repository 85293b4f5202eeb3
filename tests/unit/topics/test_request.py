"""What requests are accepted, what they mean, and how refusals are told."""

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.request.cases import TestCase
from topics.request.ceilings import range_of
from topics.request.errors import FieldError, InvalidRequestError
from topics.request.limits import GiB, Limits, MiB
from topics.request.model import BASE, SubmissionRequest
from topics.request.parsing import parse_request


def parse(**fields: Any) -> SubmissionRequest:
    return parse_request(json.dumps({"run": "true"} | fields).encode(), MiB)[0]


def refused(**fields: Any) -> tuple[FieldError, ...]:
    with pytest.raises(InvalidRequestError) as refusal:
        parse(**fields)
    assert type(refusal.value) is InvalidRequestError
    return refusal.value.errors


def file(name: str, content: str = "", encoding: str = "utf8") -> dict[str, str]:
    return {"name": name, "content": content, "encoding": encoding}


def test_what_is_not_said_has_a_default() -> None:
    request = parse()
    assert (request.run, request.compile) == ("true", None)
    assert request.environment == BASE
    assert request.cases == (TestCase(input=""),)
    assert request.limits == Limits()


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "main.py",
        "src/deep/er/main.py",
        ".hidden",
        "...",
        "a b",
        "ünï/cöde",
        "n" * 255,
        "a\nb",
        "-rf",
        "C:\\x",
    ],
)
def test_relative_paths_are_file_names(name: str) -> None:
    assert parse(files=[file(name)]).files[0].name == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is absolute"),
        ("//a", "is absolute"),
        ("..", "has a component '..'"),
        ("a/../b", "has a component '..'"),
        (".", "has a component '.'"),
        ("./a", "has a component '.'"),
        ("a//b", "has an empty component"),
        ("a/", "has an empty component"),
        ("a\0b", "contains NUL"),
        ("n" * 256, "has a component longer than 255 bytes"),
        ("ü" * 128, "has a component longer than 255 bytes"),
        ("/".join(["n" * 204] * 5), None),
        ("/".join(["n" * 205] * 5), "is longer than 1024 bytes"),
        ("a/" * 64 + "a", None),
        ("a/" * 65 + "a", "is more than 64 folders deep"),
    ],
)
def test_other_file_names_are_refused_by_name(name: str, problem: str | None) -> None:
    if problem is None:
        assert parse(files=[file(name)])
        return
    [error] = refused(files=[file("good"), file(name)])
    assert error.field == "files"
    assert error.message == f"file name {name!r} {problem}"


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a", "b", "a"], "file name 'a' is given twice"),
        (["a", "a/b"], "file name 'a' is also a folder of another file"),
        (["a/b/c", "a/b"], "file name 'a/b' is also a folder of another file"),
    ],
)
def test_files_that_exclude_each_other_are_refused(names: list[str], problem: str) -> None:
    assert [error.message for error in refused(files=[file(name) for name in names])] == [problem]


def test_so_many_files_are_refused() -> None:
    [error] = refused(files=[file(str(number)) for number in range(4097)])
    assert (error.field, error.limit) == ("files", 4096)


def test_the_largest_request_with_the_deepest_names_is_read_at_once() -> None:
    """A store reads it again and again: what takes long here stops everybody else."""
    names = [f"{number:04}/" + "/".join(["n" * 14] * 63) + "/n" for number in range(900)]
    started = time.process_time()
    assert len(parse(files=[file(name) for name in names]).files) == 900
    assert time.process_time() - started < 10  # takes 0.2 s


@given(st.binary(max_size=100))
def test_any_bytes_can_be_sent_as_base64_and_hex(data: bytes) -> None:
    sent = [file("a", base64.b64encode(data).decode(), "base64"), file("b", data.hex(), "hex")]
    assert [each.data() for each in parse(files=sent).files] == [data, data]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [("YQ", "base64"), ("Y Q==", "base64"), ("ä", "base64"), ("abc", "hex"), ("zz", "hex")],
)
def test_undecodable_content_is_refused_with_the_file_and_the_encoding(content: str, encoding: str) -> None:
    [error] = refused(files=[file("data.bin", content, encoding)])
    assert error.field == "files.0"
    assert f"content of 'data.bin' is not valid {encoding}" in error.message


def test_unknown_encoding_is_refused() -> None:
    assert [error.field for error in refused(files=[file("a", "", "latin1")])] == ["files.0.encoding"]


# -- limits ----------------------------------------------------------------------------------------

CEILINGS: dict[str, dict[str, float]] = {
    "dependencies": {
        "wall_time_s": 900,
        "memory_bytes": 4 * GiB,
        "stdout_bytes": 4 * MiB,
        "stderr_bytes": 4 * MiB,
    },
    "compile": {
        "wall_time_s": 300,
        "cpu_time_s": 300,
        "memory_bytes": 4 * GiB,
        "processes": 512,
        "stdout_bytes": 4 * MiB,
        "stderr_bytes": 4 * MiB,
        "file_size_bytes": 512 * MiB,
        "open_files": 4096,
        "box_bytes": GiB,
        "box_files": 65536,
        "cpus": 2,
        "stack_bytes": 2 * GiB,
    },
    "run": {
        "wall_time_s": 60,
        "cpu_time_s": 60,
        "memory_bytes": 2 * GiB,
        "processes": 512,
        "stdout_bytes": 4 * MiB,
        "stderr_bytes": 4 * MiB,
        "file_size_bytes": 256 * MiB,
        "open_files": 4096,
        "box_bytes": 512 * MiB,
        "box_files": 65536,
        "cpus": 2,
        "stack_bytes": 2 * GiB,
    },
}
EVERY_LIMIT = [(stage, name) for stage, names in CEILINGS.items() for name in names]


def test_every_limit_has_a_ceiling_here() -> None:
    named = {stage: set(type(limits).model_fields) for stage, limits in Limits()}
    assert named == {stage: set(names) for stage, names in CEILINGS.items()}


@pytest.mark.parametrize(("stage", "name"), EVERY_LIMIT)
def test_a_ceiling_itself_is_allowed_and_nothing_above_it(stage: str, name: str) -> None:
    ceiling = CEILINGS[stage][name]
    assert parse(limits={stage: {name: ceiling}}).limits.model_dump()[stage][name] == ceiling
    wrong: list[object] = [ceiling + 1, "1", None, True, [], float("nan"), float("inf")]
    for value in wrong:
        [error] = refused(limits={stage: {name: value}})
        assert error.field == f"limits.{stage}.{name}"
        assert error.limit == ceiling
        assert str(error.limit) in error.message


@pytest.mark.parametrize(("stage", "name"), EVERY_LIMIT)
def test_a_floor_itself_is_allowed_and_nothing_below_it(stage: str, name: str) -> None:
    allowed = range_of((stage, name))
    assert allowed is not None
    floor = allowed.floor
    assert 0 < floor < CEILINGS[stage][name]
    assert parse(limits={stage: {name: floor}}).limits.model_dump()[stage][name] == floor
    for value in (floor - 1 if isinstance(floor, int) else floor / 2, 0, -1):
        [error] = refused(limits={stage: {name: value}})
        assert (error.field, error.limit) == (f"limits.{stage}.{name}", floor)
        assert str(floor) in error.message


@pytest.mark.parametrize("digits", [30, 5000])
def test_numbers_of_any_length_are_refused_like_others(digits: int) -> None:
    raw = f'{{"run": "true", "limits": {{"run": {{"memory_bytes": {"9" * digits}}}}}}}'
    with pytest.raises(InvalidRequestError) as refusal:
        parse_request(raw.encode(), MiB)
    assert refusal.value.errors


def test_times_may_be_fractions_and_sizes_may_not() -> None:
    assert parse(limits={"run": {"cpus": 0.5, "wall_time_s": 0.25}}).limits.run.cpus == 0.5
    assert [error.field for error in refused(limits={"run": {"processes": 1.5}})] == ["limits.run.processes"]


# -- fields ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named", "advice"),
    [
        ({"tests": []}, "tests", "; did you mean 'test_cases'?"),
        ({"files": [file("a") | {"mode": 7}]}, "files.0.mode", ": there are name, content, encoding, from"),
        ({"test_cases": [{"arg": []}]}, "test_cases.0.arg", "; did you mean 'args'?"),
        ({"(run)": []}, "(run)", "; did you mean 'run'?"),
        ({"limits": {"(run)": {}}}, "limits.(run)", "; did you mean 'run'?"),
        ({"limits": {"runs": {}}}, "limits.runs", "; did you mean 'run'?"),
        ({"limits": {"run": {"wall_time": 1}}}, "limits.run.wall_time", "; did you mean 'wall_time_s'?"),
        (
            {"dependencies": {"packages": [], "pip": []}},
            "dependencies.pip",
            ": there are packages, nix, pypi, npm",
        ),
    ],
)
def test_unknown_fields_are_refused_by_path(fields: dict[str, Any], named: str, advice: str) -> None:
    [error] = refused(**fields)
    assert str(error) == f"{named}: there is no such field{advice}"


def test_messages_say_each_thing_once() -> None:
    [error] = refused(limits={"run": {"cpus": 9}})
    assert str(error) == "limits.run.cpus: must be at least 0.1 and at most 2"
    with pytest.raises(InvalidRequestError, match=r"^Input should be an object$"):
        parse_request(b"[]", MiB)


@pytest.mark.parametrize("id", ["a", "A-Z_09", "x" * 64])
def test_ids(id: str) -> None:
    assert parse(id=id).id == id


@pytest.mark.parametrize("id", ["", "x" * 65, "a b", "a/b", "a\n", "ä", "a\0", 7, "../x"])
def test_what_is_no_id(id: object) -> None:
    assert [error.field for error in refused(id=id)] == ["id"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"run": "a\0b"}, "run"),
        ({"run": ["a", "b\0"]}, "run"),
        ({"compile": "\0"}, "compile"),
        ({"env": {"A": "\0"}}, "env"),
        ({"test_cases": [{"args": ["\0"]}]}, "test_cases.0.args"),
    ],
)
def test_nul_is_refused_where_the_kernel_cannot_take_it(fields: dict[str, Any], named: str) -> None:
    [error] = refused(**fields)
    assert error.field == named
    assert "NUL" in error.message


def test_nul_is_data_elsewhere() -> None:
    assert parse(files=[file("a", "\0")], test_cases=[{"input": "\0", "expected_output": "\0"}])


@pytest.mark.parametrize("name", ["", "1A", "A=B", "A B", "A\0", "Ä", "A-B"])
def test_what_is_no_name_of_a_variable(name: str) -> None:
    [error] = refused(env={name: "x"})
    assert error.field.startswith("env")


@pytest.mark.parametrize("run", ["", [], [1], 1, {"script": "x"}, ["a", None]])
def test_programs_are_scripts_or_argument_vectors(run: object) -> None:
    assert all(error.field in {"run", "run.0", "run.1", ""} for error in refused(run=run))


@pytest.mark.parametrize(
    "fields", [{}, {"run": None}, {"compile": "make"}, {"files": [file("cutor-run.sh")]}]
)
def test_a_request_without_a_program_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="run is missing: give `run`"):
        parse_request(json.dumps(fields).encode(), MiB)


# -- checkers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named", "reason"),
    [
        ({"files": [file("input")]}, "files", "file name 'input' is taken"),
        ({"files": [file("output")]}, "files", "file name 'output' is taken"),
        ({"files": [file("answer/x")]}, "files", "file name 'answer/x' is taken"),
        ({"files": [file("a"), file("a/b")]}, "files", "file name 'a' is also a folder of another file"),
        ({"files": [file("../a")]}, "files", "file name '../a' has a component '..'"),
        ({"run": 5}, "run", "must be a script, such as"),
        ({"run": None}, "run", "must be a script, such as"),
        ({"compile": ["a", "\0"]}, "compile", "must not contain NUL"),
        ({"limits": {"stack_bytes": 1}}, "limits.stack_bytes", "must be at least 65536"),
        ({"limit": {}}, "limit", "there is no such field"),
    ],
)
def test_errors_of_a_checker_name_its_field(changes: dict[str, Any], named: str, reason: str) -> None:
    [error] = refused(comparison={"mode": "checker", "run": "true"} | changes)
    assert error.field == f"comparison.{named}"
    assert reason in error.message


def test_a_checker_may_have_files_with_similar_names() -> None:
    files = [file("inputs"), file("a/input"), file("answer.txt")]
    request = parse(comparison={"mode": "checker", "run": "true", "files": files})
    assert request.checker is not None
    assert len(request.checker.files) == 3


def test_a_comparison_is_one_of_the_modes() -> None:
    assert parse(comparison={"mode": "lines"}) == parse()
    assert str(refused(comparison={"mode": "float"})[0]) == (
        "comparison: there is no mode 'float'; did you mean 'floats'?"
    )
    assert str(refused(comparison={"mode": 1})[0]) == (
        "comparison: there is no mode '1': there are 'lines', 'exact', 'tokens', 'floats', 'checker'"
    )
    assert str(refused(comparison={})[0]) == 'comparison: has no `mode`, such as {"mode": "floats"}'
    assert str(refused(comparison="floats")[0]) == (
        'comparison: Input should be an object, such as {"mode": "floats"}'
    )


def test_a_file_has_content_or_an_origin() -> None:
    assert str(refused(files=[{"name": "a"}])[0]) == "files.0.content: is missing: give content or from"
    [error] = refused(comparison={"mode": "checker", "run": "true", "files": [{"name": "a"}]})
    assert str(error) == "comparison.files.0.content: is missing: give content or from"


# -- dependencies, the older convention ------------------------------------------------------------


@pytest.mark.parametrize(
    "dependencies",
    [
        {},
        {"packages": None, "nix": None},
        {"packages": [], "nix": "[]"},
        {"packages": "python3"},
        {"packages": [""]},
        {"packages": [1]},
        {"packages": ["x" * 201]},
        {"packages": ["x"] * 1001},
        {"nix": ""},
        {"nix": ["python3"]},
        ["python3"],
        "python3",
    ],
)
def test_dependencies_are_packages_or_an_expression(dependencies: object) -> None:
    assert all(error.field.startswith("dependencies") for error in refused(dependencies=dependencies))


# -- outputs ---------------------------------------------------------------------------------------


def test_outputs_are_names_and_patterns() -> None:
    patterns = ["plot.png", "out/*.csv", "**/log.txt", "a?[x]", "/".join(["*"] * 32)]
    assert parse(outputs=patterns).outputs == tuple(patterns)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "is empty"),
        ("/etc/*", "is absolute"),
        ("../*", "has a component '..'"),
        ("out//*", "has an empty component"),
        ("*\0", "contains NUL"),
        ("*" * 256, "has a component longer than 255 bytes"),
        ("/".join(["*" * 205] * 5), "is longer than 1024 bytes"),
        ("/".join(["*"] * 33), "has more than 32 components"),
    ],
)
def test_other_outputs_are_refused_by_field(pattern: str, problem: str) -> None:
    [error] = refused(outputs=["good", pattern])
    assert (error.field, error.message) == ("outputs.1", f"output {pattern!r} {problem}")


def test_the_number_of_patterns_is_bounded() -> None:
    [error] = refused(outputs=["x"] * 33)
    assert (error.field, error.limit) == ("outputs", 32)
