"""A worker that lacks a capability does not start, and says which one, what for, and how to give it."""

import subprocess
import sys

import pytest

from processors.sandbox import SandboxSettings
from tests.system.sandbox import starting

USES = {
    "CHOWN": "the files of a box are given to its user",
    "DAC_OVERRIDE": "files are put into and read from folders of a box's user",
    "FOWNER": "modes and times of files of a box's user are set",
    "KILL": "programs of other users are ended at their limits",
    "SETGID": "each program runs as a group of its own",
    "SETUID": "each program runs as a user of its own",
    "SYS_ADMIN": "boxes are mounted",
}
DEADLINE_S = 60


def start_with(settings: SandboxSettings, capabilities: str) -> str:
    """Start sandboxes in a process with this bounding set; returns what it said."""
    argv = ["setpriv", f"--bounding-set={capabilities}", "--inh-caps=-all"]
    argv += [sys.executable, "-m", starting.__name__, str(settings.state_dir), str(settings.first_uid), "2"]
    done = subprocess.run(argv, input="", capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    return done.stdout


@pytest.mark.usefixtures("laboratory")
@pytest.mark.parametrize("missing", USES)
def test_without_a_capability(settings: SandboxSettings, missing: str) -> None:
    said = start_with(settings, f"-{missing.lower()}")
    assert said.startswith(f"refused: the capability {missing}, with which {USES[missing]}"), said
    assert f"--cap-add {missing}" in said
    assert f"CAP_{missing}" in said


@pytest.mark.usefixtures("laboratory")
def test_with_those_that_are_named_and_no_other(settings: SandboxSettings) -> None:
    assert start_with(settings, ",".join(["-all", *(f"+{name.lower()}" for name in USES)])).startswith(
        "started"
    )


@pytest.mark.usefixtures("laboratory")
def test_with_less_address_space_than_submissions_may_ask_for(settings: SandboxSettings) -> None:
    """Programs would inherit it. Where it may be raised (SYS_RESOURCE), the start raises it."""
    argv = ["prlimit", f"--as={4 << 30}", "setpriv", "--bounding-set=-sys_resource", "--inh-caps=-all"]
    argv += [sys.executable, "-m", starting.__name__, str(settings.state_dir), str(settings.first_uid), "2"]
    done = subprocess.run(argv, input="", capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.stdout.startswith("refused: the resource limit RLIMIT_AS is 4294967296, below what"), done
