"""A stage's result is what really happened."""

from pathlib import Path

import pytest

from processors.sandbox import Command, Completed, Rootfs, SandboxError, Sandboxes
from tests.system.sandbox.laboratory import LIMITS, Laboratory


@pytest.mark.parametrize("code", [0, 1, 42, 125, 139, 255])
def test_exit_codes(laboratory: Laboratory, code: int) -> None:
    done = laboratory.script(f"exit {code}")
    assert (done.exit_code, done.signal, done.limit_exceeded) == (code, None, None)


@pytest.mark.parametrize("signal", ["SIGSEGV", "SIGABRT", "SIGTERM", "SIGKILL", "SIGXCPU"])
def test_signals(laboratory: Laboratory, signal: str) -> None:
    done = laboratory.script(f"kill -{signal} $$; sleep 10")
    assert (done.exit_code, done.signal) == (None, signal)
    assert done.limit_exceeded is None  # whoever sends it


def test_sigxfsz_means_the_limit_whoever_sends_it(laboratory: Laboratory) -> None:
    done = laboratory.script("kill -SIGXFSZ $$; sleep 10")
    assert (done.signal, done.limit_exceeded) == ("SIGXFSZ", "file_size_bytes")


def test_output_and_input_are_bytes(laboratory: Laboratory) -> None:
    every_byte = bytes(range(256)) * 1000
    done = laboratory.script("tee /dev/stderr", stdin=every_byte)
    assert (done.stdout, done.stderr) == (every_byte, every_byte)


def test_no_input_is_an_empty_one_of_its_own(laboratory: Laboratory) -> None:
    done = laboratory.script("wc -c; readlink /proc/self/fd/0")
    assert (
        done.stdout == b"0\n/memfd:input (deleted)\n"
    )  # on the host's /dev/null it could watch others use it


def run(laboratory: Laboratory, command: Command, files: dict[str, bytes] | None = None) -> Completed:
    async def experiment(sandboxes: Sandboxes) -> Completed:
        async with sandboxes.box(files or {}, LIMITS) as box:
            return await box.run(command, Rootfs.of_host_tools(), LIMITS)

    return laboratory.run(experiment)


def test_a_command_that_does_not_exist(laboratory: Laboratory) -> None:
    done = run(laboratory, Command(["no-such-command"]))
    assert (done.exit_code, done.stderr) == (127, b"no-such-command: command not found\n")
    done = run(laboratory, Command(["/box/none"]))
    assert (done.exit_code, done.stderr) == (127, b"/box/none: No such file or directory\n")


def test_a_command_that_cannot_be_executed(laboratory: Laboratory) -> None:
    done = run(laboratory, Command(["/box"]))
    assert (done.exit_code, done.stderr) == (126, b"/box: Permission denied\n")
    done = run(laboratory, Command(["true", "x" * 200_000]))
    assert (done.exit_code, done.stderr) == (126, b"true: Argument list too long\n")


def test_scripts_among_the_files_can_be_executed(laboratory: Laboratory) -> None:
    done = run(laboratory, Command(["./a/b.sh", "x y"]), {"a/b.sh": b'#!/bin/bash\necho "$0 $1"\n'})
    assert done.stdout == b"./a/b.sh x y\n"


def test_the_environment_is_the_given_one_over_few_defaults(laboratory: Laboratory) -> None:
    done = run(laboratory, Command(["env"], env={"LANG": "C", "X": "a\nb=c"}))
    assert sorted(done.stdout.decode().splitlines()) == [
        "HOME=/box",
        "LANG=C",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "X=a",
        "b=c",
    ]


def test_loader_variables_are_the_programs_only(laboratory: Laboratory) -> None:
    done = run(laboratory, Command(["/bin/true"], env={"LD_PRELOAD": "/box/evil.so", "PATH": "/nowhere"}))
    assert done.exit_code == 0
    assert b"evil.so" in done.stderr


@pytest.mark.parametrize("command", [Command([]), Command(["a\0b"]), Command(["a"], env={"a": "\0"})])
def test_what_cannot_be_a_command_is_refused(laboratory: Laboratory, command: Command) -> None:
    with pytest.raises(ValueError, match=r"NUL|no program"):
        run(laboratory, command)


def test_a_missing_environment_is_our_fault(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            with pytest.raises(SandboxError, match="no/such/tree"):
                await box.run(Command(["true"]), Rootfs({"/usr": Path("/no/such/tree")}, {}), LIMITS)

    laboratory.run(experiment)
