"""What an attack is: a hostile program, what it sees, and what the client is told."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from processors.sandbox import Box, Completed
from topics.request.limits import RunLimits

MIB = 1 << 20
CGROUP_V2 = not Path("/sys/fs/cgroup/memory").exists()
IPV6 = Path("/proc/net/if_inet6").exists()
USER_MODE_LINUX = "User Mode Linux" in Path("/proc/cpuinfo").read_text()
LIMITS = RunLimits(wall_time_s=60 if USER_MODE_LINUX else 30, cpu_time_s=40 if USER_MODE_LINUX else 20)
"""More than any attack needs that is not ended by them, on a busy machine too."""


@dataclass(frozen=True)
class Program:
    """A command, and the files that it needs in its box."""

    argv: tuple[str, ...]
    files: Callable[[], Mapping[str, bytes]]


def bash(script: str) -> Program:
    return Program(("bash", "-c", dedent(script)), dict)


def python(source: str) -> Program:
    return Program(("python3", "-ISB", "main.py"), lambda: {"main.py": dedent(source).encode()})


def c(source: str) -> Program:
    """A C program, compiled on the host; all headers that attacks want are included."""
    return Program(("./main",), lambda: {"main": _compiled(dedent(source))})


HEADERS = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
"""


def _compiled(source: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "main")
        command = ["gcc", "-x", "c", "-O1", "-static", "-pthread", "-o", str(program), "-"]
        subprocess.run(command, input=(HEADERS + source).encode(), check=True)
        return program.read_bytes()


@dataclass(frozen=True)
class Attack:
    """A row of a table of attacks."""

    name: str
    program: Program
    limits: RunLimits = LIMITS
    stdin: bytes = b""
    sees: str | re.Pattern[str] | None = ""
    """What it prints, exactly: the answers that it got. None if that is a matter of luck."""
    complains: str | None = None
    """A regular expression for what is found on standard error; None if nothing may be there."""
    ends: int | str = 0
    """Its exit code or its signal, as told to the client."""
    blamed: str | None = None
    """The limit that the client is told of."""
    afterwards: Callable[[Box], object] | None = None
    """Looks at its box when it is over."""

    def __str__(self) -> str:
        return self.name

    def check(self, done: Completed) -> None:
        """Hold the result to what is expected, and to what holds for every stage."""
        __tracebackhide__ = True
        told = (done.signal or done.exit_code, done.limit_exceeded)
        assert told == (self.ends, self.blamed), done
        self._check_output(done)
        assert done.truncated == (self.blamed in ("stdout_bytes", "stderr_bytes"))
        assert len(done.stdout) <= self.limits.stdout_bytes
        assert len(done.stderr) <= self.limits.stderr_bytes
        self._check_usage(done)

    def _check_usage(self, done: Completed) -> None:
        """Nothing is used beyond a limit, and no limit is blamed before it is reached."""
        used = {
            "wall_time_s": (done.wall_time_s, self.limits.wall_time_s, 5.0),
            "cpu_time_s": (done.cpu_time_s, self.limits.cpu_time_s, 0.5),
            "memory_bytes": (done.memory_bytes, self.limits.memory_bytes, MIB),
        }
        for name, (value, limit, tolerance) in used.items():
            assert value <= limit + tolerance, name
            if name == self.blamed:
                assert value >= limit * 0.8, name

    def _check_output(self, done: Completed) -> None:
        stdout, stderr = (text.decode(errors="backslashreplace") for text in (done.stdout, done.stderr))
        if isinstance(self.sees, re.Pattern):
            assert self.sees.fullmatch(stdout), stdout
        elif self.sees is not None:
            assert stdout == dedent(self.sees)
        if self.complains is None:
            assert stderr == ""
        else:
            assert re.search(self.complains, stderr), stderr


def each(attacks: Iterable[Attack]) -> pytest.MarkDecorator:
    """Run a test with each attack of a table."""
    return pytest.mark.parametrize("attack", attacks, ids=str)
