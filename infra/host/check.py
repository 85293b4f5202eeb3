"""Checks of the host, their results, and helpers that several checks use."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from processors.sandbox import SandboxError

TIMEOUT_S = 60
"""Time that a command of a check may take."""


class AbsentError(Exception):
    """The machine does not offer a feature. The message has the detail."""


@dataclass(frozen=True, slots=True)
class Check:
    """Test of one feature of the machine."""

    name: str
    why: str
    """Use that the system makes of the feature."""
    how: str
    """Remedy if the feature is missing."""
    look: Callable[[], str]
    """Function that returns the finding for people.

    Raises:
        AbsentError, SandboxError, OSError, SubprocessError: the feature is missing.
    """
    required: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check."""

    name: str
    ok: bool
    required: bool
    found: str
    """Description of the feature if it is there, else of the problem."""
    why: str
    how: str


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks, even after one of them has failed."""
    return [_examine(check) for check in checks]


def _examine(check: Check) -> Finding:
    try:
        found, ok = check.look(), True
    except (AbsentError, SandboxError, OSError, subprocess.SubprocessError) as error:
        found, ok = str(error), False
    return Finding(check.name, ok, check.required, found, check.why, check.how)


def programs(*names: str) -> str:
    """Return the paths of programs.

    Raises:
        AbsentError: some are not on the PATH.
    """
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise AbsentError(f"{' and '.join(missing)} cannot be found")
    return ", ".join(str(shutil.which(name)) for name in names)


def output(*argv: str) -> str:
    """Return the standard output of a command.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started, fails, or takes longer than `TIMEOUT_S`.
    """
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    return done.stdout.strip()
