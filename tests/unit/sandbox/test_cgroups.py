"""Where control groups are, from what the kernel says."""

import subprocess
import sys
from pathlib import Path

import pytest

from processors.sandbox import SandboxError
from processors.sandbox.cgroups import CgroupMount, own_folder, parse_membership, parse_mounts
from processors.sandbox.cgroups.accounting import has_swap, ignores_kernel_memory
from processors.sandbox.cgroups.files import parse_counters, quota_us

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
31 29 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
32 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""


def test_mounts() -> None:
    assert parse_mounts(MOUNTINFO) == [
        CgroupMount(1, frozenset({"rw", "cpu", "cpuacct"}), "/", Path("/sys/fs/cgroup/cpu,cpuacct")),
        CgroupMount(1, frozenset({"rw", "memory"}), "/docker/abc", Path("/sys/fs/cgroup/memory")),
        CgroupMount(2, frozenset(), "/", Path("/sys/fs/cgroup/unified")),
    ]


def test_membership() -> None:
    text = "9:name=systemd:/\n4:memory:/docker/abc/x:y\n1:cpu,cpuacct:/\n0::/user.slice\n"
    assert parse_membership(text) == {
        "name=systemd": "/",
        "memory": "/docker/abc/x:y",
        "cpu": "/",
        "cpuacct": "/",
        "": "/user.slice",
    }


def test_our_own_folder() -> None:
    mount = parse_mounts(MOUNTINFO)[1]
    assert own_folder(mount, "/docker/abc/x") == Path("/sys/fs/cgroup/memory/x")
    assert own_folder(mount, "/docker/abc") == Path("/sys/fs/cgroup/memory")
    with pytest.raises(SandboxError, match="cgroupns"):
        own_folder(mount, "/elsewhere")


def test_counters() -> None:
    assert parse_counters("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")["oom_kill"] == 3


def test_quota() -> None:
    assert [quota_us(cpus) for cpus in (2, 0.5, 0.001)] == [200_000, 50_000, 1000]


def test_swap_is_on_where_a_line_follows_the_titles() -> None:
    titles = "Filename\t\t\t\tType\t\tSize\n"
    assert not has_swap(titles)
    assert has_swap(titles + "/dev/sda2 partition 1048572\n")


@pytest.mark.parametrize(
    ("options", "ignored"),
    [
        ("quiet cgroup.memory=nokmem", True),
        ("cgroup.memory=nosocket,nokmem quiet", True),
        ("cgroup.memory=nosocket quiet", False),
        ("root=/dev/nokmem", False),
    ],
)
def test_kernel_memory_is_counted_unless_an_option_says_no(options: str, ignored: bool) -> None:
    assert ignores_kernel_memory(options) is ignored


@pytest.mark.parametrize("members", ["0\n", "1\n0\n"])
def test_moving_processes_ends_if_some_are_in_another_pid_namespace(tmp_path: Path, members: str) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text(members)
    script = f"""
import subprocess
import sys
from pathlib import Path
from processors.sandbox.cgroups.files import move_members
move_members(Path({str(tmp_path / "source")!r}), Path({str(tmp_path / "target")!r}))
"""
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=10
        )
        said = done.stderr
    except subprocess.TimeoutExpired:
        said = "it did not end"
    assert "1 processes in" in said
    assert "are outside of the worker's pid namespace and cannot be moved" in said
