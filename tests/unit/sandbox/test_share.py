"""What a control group may use, from its files and those of the groups above."""

from pathlib import Path

import pytest

from processors.sandbox import SandboxError
from processors.sandbox.cgroups import CgroupMount
from processors.sandbox.cgroups.share import (
    WORKER_BYTES,
    Limit,
    cpu_quota,
    groups_in,
    left_for_stages,
    machine_bytes,
    smallest,
)
from processors.sandbox.sandboxes import check_memory

V1 = CgroupMount(1, frozenset({"rw", "memory"}), "/docker/abc", Path("/sys/fs/cgroup/memory"))
V2 = CgroupMount(2, frozenset(), "/", Path("/sys/fs/cgroup/unified"))
MEMBERSHIP = {"memory": "/docker/abc/x/y", "": "/user.slice"}
FILE = Path("memory.max")
MANY_BYTES = 1 << 60


def test_own_groups_up_to_what_is_mounted() -> None:
    assert groups_in([V2, V1], MEMBERSHIP, "memory") == [V1.point / "x/y", V1.point / "x", V1.point]
    assert groups_in([V2], MEMBERSHIP, "memory") == [V2.point / "user.slice", V2.point]


def test_groups_that_cannot_be_seen() -> None:
    assert groups_in([V1], {"memory": "/elsewhere"}, "memory") == []
    assert groups_in([], MEMBERSHIP, "memory") == []


def test_the_smallest_limit(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    groups, names = [inner, *inner.parents[:2]], ("memory.max",)
    (inner / "memory.max").write_text("max\n")
    assert smallest(groups, names) is None
    (inner.parent / "memory.max").write_text("1000\n")
    (tmp_path / "memory.max").write_text("2000\n")
    assert smallest(groups, names) == Limit(1000, inner.parent / "memory.max")


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.cfs_quota_us": "20000\n", "cpu.cfs_period_us": "10000\n"}, 2.0),
    ],
)
def test_cpu_quota(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path) == quota


def test_what_is_left_for_stages() -> None:
    assert left_for_stages(None) == left_for_stages(Limit(MANY_BYTES, FILE)) == machine_bytes() * 4 // 5
    assert left_for_stages(Limit(WORKER_BYTES + 1, FILE)) == 1
    assert left_for_stages(Limit(WORKER_BYTES // 2, FILE)) == 0


def test_what_is_promised() -> None:
    check_memory(MANY_BYTES, None)
    check_memory(1000, Limit(WORKER_BYTES + 1000, FILE))
    for promised, limit in ((1001, WORKER_BYTES + 1000), (0, WORKER_BYTES)):
        with pytest.raises(SandboxError, match=f"TOTAL_MEMORY_BYTES = {promised} .*{limit} bytes"):
            check_memory(promised, Limit(limit, FILE))
