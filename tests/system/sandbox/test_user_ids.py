"""No two workers of a kernel have boxes of the same user, also if they share no folder."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from processors.sandbox import SandboxSettings
from processors.sandbox.workplace import sweep
from tests.system.sandbox import starting
from tests.system.sandbox.laboratory import DEADLINE_S

CONTAINER = (
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--net",
    "--ipc",
    "--uts",
)
"""What a container has of its own, so far as it matters here."""


@contextmanager
def contained(first_uid: int, boxes: int) -> Iterator[tuple[set[int], subprocess.Popen[str]]]:
    """A worker in namespaces and a state folder of its own: the users of its boxes, and its process."""
    with tempfile.TemporaryDirectory(prefix="sandboxes-") as folder:
        Path(folder).chmod(0o711)
        argv = [*CONTAINER, sys.executable, "-m", starting.__name__, folder, str(first_uid), str(boxes)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            said = process.stdout.readline()
            assert said.startswith("started: "), said
            yield {int(uid) for uid in said.split()[1:]}, process
            process.stdin.close()
        for place in Path(folder).glob("[0-9]*"):
            sweep(place)  # what a killed one left


@pytest.mark.usefixtures("laboratory")
def test_a_user_namespace_without_these_ids(settings: SandboxSettings) -> None:
    argv = ["unshare", "--user", "--map-root-user", sys.executable, "-m", starting.__name__]
    argv += [str(settings.state_dir), str(settings.first_uid), "2"]
    said = subprocess.run(argv, input="", capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    first, last = settings.first_uid, settings.first_uid + 2 * 256 - 1
    assert said.stdout.startswith(f"refused: not all ids from {first} to {last}, which are for boxes, exist")
    assert "set ENVICUTOR_SANDBOX_FIRST_UID to the first of 512 that do" in said.stdout


def test_workers_in_containers(settings: SandboxSettings) -> None:
    first = settings.first_uid
    with contained(first, 4) as (uids, _), contained(first, 4) as (others, _):
        assert len(uids) == len(others) == 4
        assert not uids & others
        with contained(first, 4) as (third, _):
            assert not third & (uids | others)


def test_ranges_that_overlap_in_part(settings: SandboxSettings) -> None:
    with contained(settings.first_uid, 4) as (uids, _), contained(settings.first_uid + 2, 3) as (others, _):
        assert not uids & others


def test_users_of_a_killed_worker_are_free_again(settings: SandboxSettings) -> None:
    with contained(settings.first_uid, 4) as (uids, process), contained(settings.first_uid, 4) as (others, _):
        assert others != uids
        process.kill()
        deadline = time.monotonic() + DEADLINE_S
        again: set[int] = set()
        while again != uids:  # the kernel takes a moment to remove what a dead process held
            assert time.monotonic() < deadline
            with contained(settings.first_uid, 4) as (again, _):
                assert not again & others
