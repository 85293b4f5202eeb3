"""What a check is, and looking at all of them."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from processors.sandbox import SandboxError

TIMEOUT_S = 60
"""Of a command that only looks."""


class AbsentError(Exception):
    """It is not there; the message says what exactly."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a machine offers or does not."""

    name: str
    why: str
    """What it is needed for."""
    how: str
    """How to get it."""
    look: Callable[[], str]
    """Returns what was found; raises AbsentError, SandboxError or OSError."""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check."""

    name: str
    ok: bool
    required: bool
    found: str
    """What is there, or what is wrong."""
    why: str
    how: str


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Look at everything, whatever is missing on the way."""
    return [_examine(check) for check in checks]


def _examine(check: Check) -> Finding:
    try:
        found, ok = check.look(), True
    except (AbsentError, SandboxError, OSError, subprocess.SubprocessError) as error:
        found, ok = str(error), False
    return Finding(check.name, ok, check.required, found, check.why, check.how)


def programs(*names: str) -> str:
    """Where they are; raises AbsentError where some are not."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise AbsentError(f"{' and '.join(missing)} cannot be found")
    return ", ".join(str(shutil.which(name)) for name in names)


def output(*argv: str) -> str:
    """What a command prints; raises OSError or subprocess.SubprocessError."""
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    return done.stdout.strip()
