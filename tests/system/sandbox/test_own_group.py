"""Memory and slots come from the worker's own control group, and no more is promised than it has."""

import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from processors.sandbox import SandboxSettings, cgroups
from processors.sandbox.cgroups import GroupLimits
from processors.sandbox.cgroups.v1 import CgroupsV1
from tests.support.roles import environment_of
from tests.system.sandbox import starting

MEMORY_BYTES, LEFT_BYTES = 512 << 20, 256 << 20
DEADLINE_S = 60
SHOW = """
from processors.sandbox import SandboxSettings
from processors.settings import WorkSettings
print(SandboxSettings().total_memory_bytes, WorkSettings().worker_slots)
"""


@pytest.fixture
def limited(settings: SandboxSettings) -> Iterator[list[str]]:
    """The beginning of a command that runs in a group below one of 512 MiB and half a processor."""
    located = cgroups.locate(f"envicutor-{secrets.token_hex(6)}")
    located.make(GroupLimits(MEMORY_BYTES, 1000, 0.5))
    group = located.create("limited")
    enter = [f"echo 0 > {file}" for file in group.join_files()]
    yield ["sh", "-ec", "\n".join([*enter, 'exec "$@"']), "sh"]
    for folder in located.paths()[:-1]:
        for below in sorted(folder.glob("**/"), reverse=True):
            below.rmdir()


def run(argv: list[str], **settings: str) -> str:
    environment = environment_of(**settings)
    try:
        done = subprocess.run(
            argv, env=environment, input="", capture_output=True, text=True, check=False, timeout=DEADLINE_S
        )
    except subprocess.TimeoutExpired:
        return "it did not end"
    return done.stdout + done.stderr


def test_memory_and_slots_of_a_limited_group(limited: list[str]) -> None:
    assert run([*limited, sys.executable, "-c", SHOW]).split() == [str(LEFT_BYTES), "1"]


def test_a_promise_of_more_than_the_group_has_is_refused(
    limited: list[str], settings: SandboxSettings
) -> None:
    argv = [sys.executable, "-m", starting.__name__, str(settings.state_dir), str(settings.first_uid), "2"]
    said = run([*limited, *argv], SANDBOX_TOTAL_MEMORY_BYTES=str(LEFT_BYTES + 1))
    assert (
        f"ENVICUTOR_SANDBOX_TOTAL_MEMORY_BYTES = {LEFT_BYTES + 1} is not between 1 and {LEFT_BYTES}" in said
    )
    assert f"allows {MEMORY_BYTES} bytes" in said


def test_a_group_with_a_process_outside_of_the_pid_namespace(
    limited: list[str], settings: SandboxSettings
) -> None:
    argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]  # which stays outside itself
    argv += [sys.executable, "-m", starting.__name__, str(settings.state_dir), str(settings.first_uid), "2"]
    said = run([*limited, *argv])
    if isinstance(cgroups.locate("envicutor-test"), CgroupsV1):
        assert said.startswith("started: ")  # nothing is moved there
    else:
        assert said.startswith("refused: 1 processes in ")
        assert "outside of the worker's pid namespace and cannot be moved" in said
