"""What other accounts of the machine see of a system: nothing of what was submitted."""

import os
import secrets
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from infra.accounts import open_to_others
from tests.system.cluster.running import Cluster
from tests.system.conftest import LEFT_OPEN

pytestmark = pytest.mark.xdist_group("cluster")

NOBODY = 65534
_OPEN = """
import sys
for path in sys.stdin.read().split("\\0"):
    try:
        open(path, "rb").close()
    except OSError:
        continue
    print(path, end="\\0")
"""


def test_no_file_with_a_submission_can_be_opened_by_another_account(cluster: Cluster) -> None:
    marker = secrets.token_hex(16)
    files = [{"name": "source", "content": marker}]
    answer = cluster.answer({"files": files, "compile": "cp source built", "run": "cat built"})
    assert answer["run"][0]["stdout"] == marker
    folder = cluster.nix_root.parent.parent
    holding = [path for path in files_below(folder) if holds(path, marker.encode())]
    assert holding, "the broker and the views have it"
    assert opened_by_others(holding) == []


def test_only_what_must_be_passed_through_can_be_entered(cluster: Cluster) -> None:
    data = cluster.nix_root.parent
    entered = {path.name for path in data.iterdir() if path.is_dir() and _may(path, "-x")}
    assert entered == {"nix"}, "builds and sandboxes need it"
    assert not _may(data, "-r")


def test_what_an_earlier_version_left_open_is_closed(cluster: Cluster) -> None:
    """The folders were there, open to everybody, before the system started."""
    data = cluster.nix_root.parent
    assert [name for name in LEFT_OPEN if _may(data / name, "-r")] == []
    assert open_to_others(data) == []


def files_below(folder: Path) -> list[Path]:
    """Regular files, without those of environments, which hold packages alone."""
    found = (
        Path(top, name) for top, _, names in os.walk(folder) for name in names if "/nix/store" not in top
    )
    return [path for path in found if path.is_file() and not path.is_symlink()]


def holds(path: Path, marker: bytes) -> bool:
    with suppress(OSError):  # it was removed meanwhile
        return marker in path.read_bytes()
    return False


def opened_by_others(paths: list[Path]) -> list[str]:
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _OPEN],
        input="\0".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        user=NOBODY,
        group=NOBODY,
        extra_groups=(),
    )
    return done.stdout.split("\0")[:-1]


def _may(path: Path, right: str) -> bool:
    tested = ["test", right, str(path)]
    return subprocess.run(tested, user=NOBODY, group=NOBODY, extra_groups=(), check=False).returncode == 0
