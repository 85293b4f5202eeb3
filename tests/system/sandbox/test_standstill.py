"""A host that stands still while a program runs is to blame for its wall time."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from processors.sandbox import SandboxSettings
from tests.support.standstill import FREEZERS, family, frozen, launchers, stopped
from tests.system.sandbox import watched_worker

STANDSTILL_S = 3.5
Inflict = Callable[[int], AbstractContextManager[None]]


def outcome(settings: SandboxSettings, inflict: Inflict) -> str:
    """What the worker makes of a program of a second, which may take two, that meets a standstill."""
    command = [
        sys.executable,
        "-m",
        watched_worker.__name__,
        str(settings.state_dir),
        str(settings.first_uid),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        with inflict(worker.pid):
            time.sleep(STANDSTILL_S)
        return worker.stdout.read().strip()


@pytest.mark.parametrize(
    "inflict",
    [
        pytest.param(lambda pid: stopped(launchers(pid)), id="worker and launchers stopped"),
        pytest.param(lambda pid: stopped(family(pid)), id="all stopped"),
        pytest.param(
            lambda pid: frozen(family(pid)),
            id="frozen",
            marks=pytest.mark.skipif(not FREEZERS.exists(), reason="needs the freezer of cgroup version 1"),
        ),
    ],
)
def test_an_honest_program_is_not_blamed(settings: SandboxSettings, inflict: Inflict) -> None:
    assert outcome(settings, inflict).startswith("the host stood still")


def test_a_stopped_worker_whose_program_ends_in_time(settings: SandboxSettings) -> None:
    assert outcome(settings, lambda pid: stopped([pid])) == "exit code 0, None"


def test_no_standstill(settings: SandboxSettings) -> None:
    assert outcome(settings, lambda _: nullcontext()) == "exit code 0, None"
