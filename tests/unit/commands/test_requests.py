"""From a directory or a file to the request that is sent."""

import json
from pathlib import Path

import pytest

from envicutor_client.cli.requests import read_directory, read_request
from topics.request.limits import MiB
from topics.request.parsing import parse_request


def test_directory_is_sent_as_files(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "text.py").write_text("é\n")
    (tmp_path / "cutor-run.sh").write_text("true")
    (tmp_path / "data").write_bytes(b"\xff\x00")

    request = read_directory(tmp_path)

    assert request == {
        "run": "true",
        "files": [
            {"name": "cutor-run.sh", "content": "true"},
            {"name": "data", "content": "/wA=", "encoding": "base64"},
            {"name": "lib/text.py", "content": "é\n"},
        ],
    }
    parsed, _ = parse_request(json.dumps(request).encode(), MiB)
    assert parsed.run == "true"


def test_files_of_the_older_convention_become_fields_that_are_not_given(tmp_path: Path) -> None:
    for name in ("shell.nix", "cutor-compile.sh", "cutor-run.sh"):
        (tmp_path / name).write_text(f"text of {name}")
    read = {
        "run": "text of cutor-run.sh",
        "compile": "text of cutor-compile.sh",
        "dependencies": {"nix": "text of shell.nix"},
    }
    request = read_directory(tmp_path)
    files = request.pop("files")
    assert request == read
    assert [file["name"] for file in files] == ["cutor-compile.sh", "cutor-run.sh", "shell.nix"]

    (tmp_path / "cutor.nix").write_text("text of cutor.nix")
    assert read_directory(tmp_path)["dependencies"] == {"nix": "text of cutor.nix"}
    fields = {"run": "cat", "compile": ["cc"], "dependencies": {"packages": []}}
    (tmp_path / "submission.json").write_text(json.dumps(fields))
    request = read_directory(tmp_path)
    del request["files"]
    assert request == fields


def test_a_file_of_the_older_convention_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "cutor-run.sh").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"cutor-run\.sh is not UTF-8 text"):
        read_directory(tmp_path)


def test_other_fields_are_not_a_file(tmp_path: Path) -> None:
    fields = {"run": "cat", "test_cases": [{"input": "1"}]}
    (tmp_path / "submission.json").write_text(json.dumps(fields))
    assert read_directory(tmp_path) == {"files": []} | fields


def test_submission_json_below_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "submission.json").write_text("{}")
    assert [file["name"] for file in read_directory(tmp_path)["files"]] == ["sub/submission.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "not a JSON object"),
        ("{", "not JSON"),
        ('{"files": []}', "remove `files`"),
    ],
)
def test_what_is_no_request_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "submission.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_request(str(tmp_path))


def test_json_file_is_the_request(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"run": "true"}')
    assert read_request(str(tmp_path / "request.json")) == {"run": "true"}


def test_a_directory_that_is_no_program_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=r"larger than 4 MiB.*: name a directory that has only"):
        read_directory(tmp_path)
    (tmp_path / "disk.img").unlink()
    monkeypatch.setattr("envicutor_client.cli.requests.LOOKED_AT", 3)
    for number in range(4):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(ValueError, match="more than 3 files and folders: name"):
        read_directory(tmp_path)


def test_what_has_no_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "is larger than 4194304 bytes, which no request may exceed"
    with pytest.raises(ValueError, match=f"/dev/zero {message}"):
        read_request("/dev/zero")
    with open("/dev/zero") as zeros:
        monkeypatch.setattr("sys.stdin", zeros)
        with pytest.raises(ValueError, match=f"standard input {message}"):
            read_request("-")
