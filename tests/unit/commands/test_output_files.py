"""Where output files are written, and where never."""

from pathlib import Path

import pytest

from envicutor_client.cli.output_files import check_new, write
from envicutor_client.models import Answer, OutputFile, RunStage


def answer(*runs: tuple[str, ...]) -> Answer:
    stages = tuple(RunStage(exit_code=0, outputs=tuple(map(output, names))) for names in runs)
    return Answer(id="one", status="finished", created_at="", outcome="ok", run=stages)


def output(name: str) -> OutputFile:
    return OutputFile(name=name, size_bytes=2, media_type="text/plain", content="eAo=")


def test_files_keep_their_names(tmp_path: Path) -> None:
    assert list(write(answer(("a", "out/b")), tmp_path)) == [tmp_path / "a", tmp_path / "out" / "b"]
    assert (tmp_path / "out" / "b").read_bytes() == b"x\n"


def test_each_of_several_test_cases_has_a_folder(tmp_path: Path) -> None:
    written = list(write(answer(("a",), (), ("a",)), tmp_path))
    assert written == [tmp_path / "1" / "a", tmp_path / "3" / "a"]


def test_what_was_left_out_is_not_written(tmp_path: Path) -> None:
    left_out = output("a").model_copy(update={"content": None, "omitted": "answer_bytes"})
    stage = RunStage(exit_code=0, outputs=(left_out,))
    assert list(write(answer().model_copy(update={"run": (stage,)}), tmp_path)) == []


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\0"])
def test_no_name_leads_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        list(write(answer((name,)), tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    check_new(tmp_path)
    check_new(tmp_path / "new")
    (tmp_path / ".bashrc").touch()
    with pytest.raises(ValueError, match="exists already"):
        check_new(tmp_path)
    with pytest.raises(ValueError, match="exists already"):
        check_new(tmp_path / ".bashrc")
    with pytest.raises(FileExistsError):
        list(write(answer((".bashrc",)), tmp_path))
