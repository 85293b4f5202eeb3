"""What the launcher is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.sandbox import Rootfs
from processors.sandbox.mounts import unescape
from processors.sandbox.orders import (
    DEFAULT_ENV,
    Descriptors,
    orders_for_box,
    orders_for_host,
    root_orders,
    sandbox_command,
)
from topics.request.limits import RunLimits

words = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
names = st.text(st.characters(exclude_characters="\0=", codec="utf-8"), min_size=1)
DESCRIPTORS = Descriptors(stderr=7, groups=(8, 9), passed=(6, 5))
FOLDER = Path("/folder")


@given(argv=st.lists(words, min_size=1), env=st.dictionaries(names, words))
def test_arguments_and_variables_are_framed_by_their_number(argv: list[str], env: dict[str, str]) -> None:
    told = orders_for_host(argv, env, DESCRIPTORS, FOLDER).decode().split("\0")
    variables = [f"{name}={value}" for name, value in env.items()]
    assert told == [
        str(len(argv)),
        str(len(env)),
        *argv,
        *variables,
        *("directory", "/folder", "stderr", "7", "join", "8", "join", "9", ""),
    ]


def test_a_box_gets_its_limits_and_defaults() -> None:
    limits = RunLimits(open_files=33, box_bytes=4096, box_files=5)
    orders = orders_for_box(["a"], {"HOME": "/tmp"}, limits, DESCRIPTORS, root=[("begin-root", "/x")])
    told = orders.decode().split("\0")
    assert told[:3] == ["1", str(len(DEFAULT_ENV)), "a"]
    assert "HOME=/tmp" in told
    assert "LANG=C.UTF-8" in told
    text = " ".join(told)
    assert "rlimit 7 33 33" in text
    assert "tmpfs /tmp size=4096,nr_inodes=6,mode=1777" in text
    assert "seccomp 6" in text
    assert "gate 5" in text
    assert "mask /proc/keys" in text
    assert text.index("begin-root /x") < text.index("tmpfs /tmp")


@pytest.mark.parametrize(("argv", "env"), [([], {}), (["a\0"], {}), (["a"], {"b": "\0"})])
def test_what_cannot_be_told_is_refused(argv: list[str], env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"NUL|no program"):
        orders_for_host(argv, env, DESCRIPTORS, FOLDER)


ROOTFS = Rootfs({"/usr": Path("/tree/usr")}, {"/bin": "usr/bin"})
DEV, BOX = Path("/state/dev"), Path("/state/box")


def test_the_launcher_holds_the_trees_before_the_root_and_enters_it_last() -> None:
    assert sandbox_command(7)[:2] == ["sandbox", "7"]
    assert root_orders(ROOTFS, DEV, BOX) == [
        ("bind-read-only", "/tree/usr", "/usr"),
        ("bind-devices", "/state/dev", "/dev"),
        ("bind", "/state/box", "/box"),
        ("begin-root", "/state/box"),
        ("link", "usr/bin", "/bin"),
        ("proc", "/proc"),
        ("folder", "/tmp"),
        ("end-root", "/box"),
    ]


def test_paths_of_mounts() -> None:
    assert unescape(rb"/a\040b\134c/\303\244") == "/a b\\c/ä".encode()
