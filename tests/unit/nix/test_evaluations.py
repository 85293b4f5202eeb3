"""The results of expressions that were evaluated before."""

import os
import threading
from pathlib import Path

import pytest

from nix import evaluations
from nix.contents import SmallFile
from nix.evaluated import Evaluated
from nix.evaluations import Evaluations

RESULT = Evaluated(
    packages=["python3"], variables={"A": "b\nü"}, files={"bin/x": SmallFile(text="é", executable=True)}
)
TEXT, PIN = "{ pkgs }: [ pkgs.python3 ]", "debian-1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "evaluations"


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_a_result_is_found_by_another_process_of_the_host(folder: Path) -> None:
    Evaluations(folder).put(TEXT, PIN, RESULT)
    assert Evaluations(folder).get(TEXT, PIN) == RESULT


def test_text_pin_and_evaluator_distinguish_results(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Evaluations(folder)
    kept.put(TEXT, PIN, RESULT)
    assert kept.get(TEXT + " ", PIN) is None
    assert kept.get(TEXT, "debian-2") is None
    monkeypatch.setattr(evaluations, "EVALUATOR", evaluations.EVALUATOR + 1)
    assert kept.get(TEXT, PIN) is None


def test_nothing_is_found_without_a_folder(folder: Path) -> None:
    assert Evaluations(folder).get(TEXT, PIN) is None
    assert not folder.exists()


@pytest.mark.parametrize("end", [0, 10, 40, -1])
def test_a_truncated_file_counts_as_missing_and_is_replaced(folder: Path, end: int) -> None:
    kept = Evaluations(folder)
    kept.put(TEXT, PIN, RESULT)
    path = only_file(folder)
    path.write_bytes(path.read_bytes()[:end])
    assert kept.get(TEXT, PIN) is None
    assert not path.exists()
    kept.put(TEXT, PIN, RESULT)
    assert kept.get(TEXT, PIN) == RESULT


def test_a_changed_byte_within_a_value_counts_as_damage(folder: Path) -> None:
    kept = Evaluations(folder)
    kept.put(TEXT, PIN, RESULT)
    path = only_file(folder)
    path.write_bytes(path.read_bytes().replace(b"python3", b"python4"))
    assert kept.get(TEXT, PIN) is None


def test_a_result_that_is_not_valid_counts_as_missing(folder: Path) -> None:
    kept = Evaluations(folder)
    kept.put(TEXT, PIN, Evaluated.model_construct(packages=["-o"], variables={}, files={}))
    assert only_file(folder)
    assert kept.get(TEXT, PIN) is None


def test_a_file_that_cannot_be_read_counts_as_missing(folder: Path) -> None:
    kept = Evaluations(folder)
    kept.put(TEXT, PIN, RESULT)
    path = only_file(folder)
    path.unlink()
    path.mkdir()
    assert kept.get(TEXT, PIN) is None


def test_a_folder_that_cannot_be_written_is_only_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file")
    Evaluations(folder).put(TEXT, PIN, RESULT)
    assert "cannot be kept" in caplog.text


def test_the_least_recently_used_results_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "KEPT", 10)
    kept = Evaluations(folder)
    for number in range(10):
        kept.put(f"{number}", PIN, RESULT)
        found = kept._path(f"{number}", PIN)
        os.utime(found, (number, number))
    (folder / ".half-written").touch()
    os.utime(folder / ".half-written", (0, 0))
    assert kept.get("0", PIN) == RESULT  # used now
    kept.put("new", PIN, RESULT)
    left = [number for number in range(10) if kept.get(f"{number}", PIN)]
    assert left == [0, *range(3, 10)]
    assert len(list(folder.iterdir())) == 9


def test_processes_that_keep_and_read_at_once_find_whole_results(folder: Path) -> None:
    found: list[Evaluated | None] = []

    def use() -> None:
        kept = Evaluations(folder)
        for _ in range(50):
            kept.put(TEXT, PIN, RESULT)
            found.append(kept.get(TEXT, PIN))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 200
    assert all(one == RESULT for one in found)
