"""What the launcher is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.sandbox import Rootfs
from processors.sandbox.mounts import unescape
from processors.sandbox.orders import (
    DEFAULT_ENV,
    Positions,
    file_orders,
    orders_for_box,
    orders_for_host,
    root_orders,
    sandbox_command,
)
from topics.request.limits import RunLimits

words = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
names = st.text(st.characters(exclude_characters="\0=", codec="utf-8"), min_size=1)
POSITIONS = Positions(groups=(4, 5), trees=(6, 7), seccomp=(8,))
FOLDER = Path("/folder")
ROOTFS = Rootfs({"/usr": Path("/tree/usr")}, {"/bin": "usr/bin"})


@given(argv=st.lists(words, min_size=1), env=st.dictionaries(names, words))
def test_arguments_and_variables_are_framed_by_their_number(argv: list[str], env: dict[str, str]) -> None:
    told = orders_for_host(argv, env, POSITIONS, FOLDER).decode().split("\0")
    variables = [f"{name}={value}" for name, value in env.items()]
    assert told == [
        str(len(argv)),
        str(len(env)),
        *argv,
        *variables,
        *("directory", "/folder", "join", "4", "join", "5", ""),
    ]


def test_a_box_gets_its_limits_and_defaults() -> None:
    limits = RunLimits(open_files=33, box_bytes=4096, box_files=5)
    orders = orders_for_box(["a"], {"HOME": "/tmp"}, limits, POSITIONS, ROOTFS)
    told = orders.decode().split("\0")
    assert told[:3] == ["1", str(len(DEFAULT_ENV)), "a"]
    assert "HOME=/tmp" in told
    assert "LANG=C.UTF-8" in told
    text = " ".join(told)
    assert "rlimit 7 33 33" in text
    assert "tmpfs /tmp size=4096,nr_inodes=6,mode=1777" in text
    assert "seccomp 8" in text
    assert text.index("end-root /box") < text.index("tmpfs /tmp")


@pytest.mark.parametrize(("argv", "env"), [([], {}), (["a\0"], {}), (["a"], {"b": "\0"})])
def test_what_cannot_be_told_is_refused(argv: list[str], env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"NUL|no program"):
        orders_for_host(argv, env, POSITIONS, FOLDER)


def test_a_root_is_made_before_its_files_are_known() -> None:
    root = root_orders(Path("/state/dev"), Path("/state/boxes"))
    told = sandbox_command(1007, root).decode().split("\0")
    assert told[:10] == [
        "1007",
        *("begin-root", "/state/boxes"),
        *("bind-devices", "/state/dev", "/dev"),
        *("folder", "/tmp"),
        *("proc", "/proc"),
    ]
    assert told[told.index("/proc/keys") - 1] == "mask"


def test_files_are_mounted_and_the_box_is_entered_last() -> None:
    assert file_orders(ROOTFS, [6, 7]) == [
        ("bind-read-only", "6", "/usr"),
        ("bind", "7", "/box"),
        ("link", "usr/bin", "/bin"),
        ("end-root", "/box"),
    ]


def test_paths_of_mounts() -> None:
    assert unescape(rb"/a\040b\134c/\303\244") == "/a b\\c/ä".encode()
