"""The disk space of folders counts each file once, and names within a folder are not those of others."""

import os
from pathlib import Path

import pytest

from nix import disk_usage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    (folder / "perl").write_bytes(bytes(1 << 20))
    os.link(folder / "perl", folder / "below/perl5")
    return folder


def test_names_within_a_folder_are_no_use_of_it(folder: Path, tmp_path: Path) -> None:
    assert not disk_usage.is_linked(folder)
    os.link(folder / "perl", tmp_path / "used")
    assert disk_usage.is_linked(folder)


def test_a_file_with_two_names_counts_once(folder: Path) -> None:
    assert 1 << 20 <= disk_usage.total_bytes(folder) < 1.5 * (1 << 20)


def test_unshared_are_folders_and_files_without_a_name_elsewhere(folder: Path, tmp_path: Path) -> None:
    whole = disk_usage.total_bytes(folder)
    assert disk_usage.unshared_bytes(folder) == whole
    os.link(folder / "perl", tmp_path / "used")
    assert disk_usage.unshared_bytes(folder) == whole - disk_usage.allocated_bytes((folder / "perl").stat())


def test_what_is_removed_meanwhile_is_left_out(tmp_path: Path) -> None:
    assert disk_usage.total_bytes(tmp_path / "gone") == 0
