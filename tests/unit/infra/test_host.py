"""What a machine offers, from what was found on it."""

from pathlib import Path

import pytest

from infra.commands.doctor import is_well, report
from infra.host.check import AbsentError, Check, examine
from infra.host.sandboxes import no_huge_pages, room_for
from processors.sandbox import SandboxError, SandboxSettings


def check(name: str, error: Exception | None = None, *, required: bool = True) -> Check:
    def look() -> str:
        if error is not None:
            raise error
        return "found"

    return Check(name, why="why", how="how", look=look, required=required)


def test_everything_is_looked_at_whatever_is_missing() -> None:
    checks = [check("a", AbsentError("no a")), check("b", SandboxError("no b")), check("c", OSError("no c"))]
    findings = examine([*checks, check("d")])
    assert [(finding.ok, finding.found) for finding in findings] == [
        (False, "no a"),
        (False, "no b"),
        (False, "no c"),
        (True, "found"),
    ]


def test_only_what_is_required_counts() -> None:
    optional = check("optional", AbsentError("none"), required=False)
    assert is_well(examine([check("a"), optional]))
    assert not is_well(examine([check("a", AbsentError("none"))]))


def test_what_is_missing_is_told_with_what_to_do() -> None:
    optional = check("optional", AbsentError("none"), required=False)
    lines = [text.plain for text in report(examine([check("a", AbsentError("none")), optional]))]
    assert lines == [
        "missing  a: none",
        "         for: why",
        "         do:  how",
        "note     optional: none",
        "         for: why",
        "         do:  how",
        "\nThis machine cannot run Envicutor yet; missing: a",
    ]


def test_room_for_all_stages() -> None:
    settings = SandboxSettings(boxes=16, total_memory_bytes=16 << 30)
    assert room_for(4, settings, pids=32768) == "4 slots of at most 4096 MiB and 512 processes"
    for slots, pids, what in (
        (5, 32768, "16384 MiB"),
        (4, 2000, "2000 process ids"),
    ):
        with pytest.raises(AbsentError, match=what):
            room_for(slots, settings, pids)


def test_pools_of_huge_pages(tmp_path: Path) -> None:
    assert no_huge_pages(tmp_path) == "none are kept"  # a kernel without them
    pool = tmp_path / "hugepages-2048kB"
    pool.mkdir()
    pool.joinpath("nr_hugepages").write_text("0\n")
    pool.joinpath("nr_overcommit_hugepages").write_text("0\n")
    assert no_huge_pages(tmp_path) == "none are kept"
    pool.joinpath("nr_overcommit_hugepages").write_text("7\n")
    with pytest.raises(AbsentError, match="hugepages-2048kB has nr_overcommit_hugepages = 7"):
        no_huge_pages(tmp_path)
