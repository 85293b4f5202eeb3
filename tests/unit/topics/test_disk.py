"""When a file system has too little space, and when it has enough again."""

import logging
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from topics.disk import FULL, DiskSettings, DiskWatch, Space, Watermark
from topics.request.limits import GiB, MiB


@pytest.mark.parametrize(("total", "expected"), [(10 * GiB, GiB), (100 * GiB, 5 * GiB)])
def test_the_larger_watermark_applies(total: int, expected: int) -> None:
    settings = DiskSettings()
    assert Watermark(settings.disk_free_share, settings.disk_free_bytes).of(total) == expected


def test_what_was_low_needs_more_than_the_watermark() -> None:
    watermark = Watermark(0.0, 100)
    assert watermark.is_low(Space(1000, 99), was_low=False)
    assert not watermark.is_low(Space(1000, 100), was_low=False)
    assert watermark.is_low(Space(1000, 124), was_low=True)
    assert not watermark.is_low(Space(1000, 125), was_low=True)


def test_a_shortage_names_the_folder_and_the_watermark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "not" / "made yet"
    enough, short = Watermark(0.0, 1), Watermark(0.0, 1 << 60)
    shortage = DiskWatch({tmp_path: enough, missing: short}, waiting="new work").shortage()
    assert shortage is not None
    expected = rf"disk space: {missing} has \d+ MiB free, less than the watermark of {(1 << 60) // MiB} MiB"
    assert re.fullmatch(expected, shortage)
    assert caplog.record_tuples == [("topics.disk", logging.WARNING, f"{shortage}: new work waits")]


def test_folders_of_the_settings_are_watched_beside_those_of_the_role(tmp_path: Path) -> None:
    settings = DiskSettings(disk_free_bytes=1 << 60, disk_folders=(tmp_path / "b",))
    watch = DiskWatch.of_role(settings, small=[tmp_path])
    assert str(tmp_path / "b") in str(watch.shortage())
    assert DiskWatch.of_role(DiskSettings(disk_free_share=0, disk_free_bytes=0), tmp_path).shortage() is None
    assert FULL.of(1) == 32 * MiB
    assert watch.free_bytes() > 0


@pytest.mark.parametrize("folder", ["relative", "/etc/hostname/below a file"])
def test_folders_that_cannot_be_watched_are_refused_by_name(folder: str) -> None:
    with pytest.raises(ValidationError, match="disk_folders") as refused:
        DiskSettings(disk_folders=(Path(folder),))
    assert folder in str(refused.value)


def test_without_folders_nothing_is_short() -> None:
    assert DiskWatch({}).shortage() is None
    assert DiskWatch({}).free_bytes() == 0
