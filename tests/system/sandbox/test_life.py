"""Starting, cancelling, running side by side, and commands of ours."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import processors.sandbox.sandboxes as sandboxes_module
from processors.sandbox import (
    Bounds,
    Command,
    Completed,
    Rootfs,
    SandboxError,
    Sandboxes,
    SandboxSettings,
    cgroups,
    launcher,
)
from tests.support.polling import eventually
from tests.system.sandbox.laboratory import (
    DEADLINE_S,
    LIMITS,
    Laboratory,
    bash,
    children,
    processes_of,
    programs_of,
)


async def nothing(_: Sandboxes) -> None:
    """Start and close."""


def test_cancelling_kills_everything_first(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            script = "(setsid sleep 1000 &); : > running; while :; do :; done"
            run = asyncio.create_task(bash(box, script))
            await asyncio.to_thread(eventually, (box.path / "running").exists, "the program runs")
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert programs_of(laboratory.settings) == []
            assert (await bash(box, "echo again")).stdout == b"again\n"

    laboratory.run(experiment)


@pytest.mark.parametrize("delay_s", [0, 0.001, 0.003, 0.006, 0.01, 0.015])
def test_cancelling_at_any_moment(laboratory: Laboratory, delay_s: float) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await bash(box, "sleep 1000")

    laboratory.run(experiment)


def test_a_program_starts_when_its_gate_opens_and_is_not_timed_before(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            opens = asyncio.Event()

            async def until_open() -> None:
                await opens.wait()

            command = Command(["touch", "running"], may_start=until_open)
            run = asyncio.create_task(box.run(command, Rootfs.of_host_tools(), LIMITS))
            while not processes_of(laboratory.settings):  # noqa: ASYNC110 - nobody tells that it is there
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
            assert not (box.path / "running").exists()
            opens.set()
            assert (await run).wall_time_s < 0.9
            assert (box.path / "running").exists()

    laboratory.run(experiment)


def test_cancelling_at_the_gate(unprepared: SandboxSettings, laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            never = asyncio.Event()

            async def until_open() -> None:
                await never.wait()

            command = Command(["touch", "running"], may_start=until_open)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await box.run(command, Rootfs.of_host_tools(), LIMITS)
            assert not (box.path / "running").exists()
        assert processes_of(laboratory.settings) == []

    Laboratory(unprepared, laboratory.groups).run(experiment)


def test_many_boxes_at_once(laboratory: Laboratory) -> None:
    async def one(sandboxes: Sandboxes, number: int) -> bytes:
        async with sandboxes.box({"x": str(number).encode()}, LIMITS) as box:
            return (await bash(box, "sleep 0.1; cat x -", stdin=b"in")).stdout

    async def experiment(sandboxes: Sandboxes) -> list[bytes]:
        return await asyncio.gather(*(one(sandboxes, number) for number in range(32)))

    assert laboratory.run(experiment) == [b"%din" % number for number in range(32)]


def test_no_more_boxes_than_users(laboratory: Laboratory) -> None:
    few = Laboratory(laboratory.settings.model_copy(update={"boxes": 1}))

    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS):
            with pytest.raises(SandboxError, match="all 1 boxes are in use"):
                async with sandboxes.box({}, LIMITS):
                    pass
        async with sandboxes.box({}, LIMITS):
            pass

    few.run(experiment)


def test_cancelling_while_a_box_is_taken_away_loses_no_user(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Laboratory(laboratory.settings.model_copy(update={"boxes": 1}))
    monkeypatch.setattr(sandboxes_module, "PREPARE_AFTER_S", 1000)  # nothing removes the group meanwhile

    async def experiment(sandboxes: Sandboxes) -> None:
        ran, removing = asyncio.Event(), asyncio.Event()

        async def one() -> None:
            async with sandboxes.box({}, LIMITS) as box:
                await bash(box, "true")
                ran.set()

        async def slowly(group: cgroups.Group) -> None:
            removing.set()
            await asyncio.sleep(0.2)
            await remove(group)

        remove = sandboxes_module._remove
        monkeypatch.setattr(sandboxes_module, "_remove", slowly)
        task = asyncio.create_task(one())
        await removing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ran.is_set()
        await one()

    few.run(experiment)


def test_a_state_folder_that_users_cannot_reach(laboratory: Laboratory) -> None:
    laboratory.settings.state_dir.chmod(0o700)
    with pytest.raises(SandboxError, match=r"chmod o\+x"):
        laboratory.run(nothing)


def test_a_machine_without_a_compiler(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = laboratory.settings.state_dir / "cache"
    elsewhere = Laboratory(laboratory.settings.model_copy(update={"cache_dir": empty}))
    elsewhere.run(nothing)
    assert [path.name.partition("-")[0] for path in empty.iterdir()] == ["launcher"]
    (built,) = empty.iterdir()
    built.unlink()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        with pytest.raises(SandboxError, match="missing: apt-get install"):
            elsewhere.run(nothing)
    assert list(empty.iterdir()) == []
    empty.rmdir()


def bounded(laboratory: Laboratory, script: str, **bounds: float) -> Completed:
    async def experiment(sandboxes: Sandboxes) -> Completed:
        return await sandboxes.run_bounded(
            ["bash", "-c", script],
            env={"PATH": "/usr/bin", "X": "y"},
            cwd=Path("/usr"),
            stdin=b"in",
            bounds=Bounds(
                wall_time_s=bounds.get("wall_time_s", DEADLINE_S),
                memory_bytes=int(bounds.get("memory_bytes", 1 << 28)),
                stdout_bytes=int(bounds.get("stdout_bytes", 1 << 20)),
                stderr_bytes=1000,
            ),
            processes=int(bounds.get("processes", 1024)),
        )

    return laboratory.run(experiment)


def test_a_host_command_is_root_without_network(laboratory: Laboratory) -> None:
    done = bounded(laboratory, "id -u; pwd; echo $X; cat; grep -c : /proc/net/dev; echo err >&2; exit 3")
    assert done.stdout == b"0\n/usr\ny\nin1\n"
    assert (done.stderr, done.exit_code, done.limit_exceeded) == (b"err\n", 3, None)
    assert done.memory_bytes > 0
    assert done.cpu_time_s > 0


def test_a_host_command_has_no_environment_but_the_given_one(laboratory: Laboratory) -> None:
    done = bounded(laboratory, "cat /proc/self/environ | tr '\\0' '\\n'; ls /proc/self/fd")
    words = set(done.stdout.decode().split())
    assert {"PATH=/usr/bin", "X=y", "0", "1", "2", "3"} <= words
    assert {word.partition("=")[0] for word in words} <= {"PATH", "X", "PWD", "OLDPWD", "SHLVL", "_", *"0123"}


def test_a_host_command_is_bounded_with_its_descendants(laboratory: Laboratory) -> None:
    marker = f"{time.time():.6f}"
    done = bounded(laboratory, f"setsid sleep 1000 {marker} & sleep 1000", wall_time_s=0.3)
    assert (done.limit_exceeded, done.signal) == ("wall_time_s", "SIGKILL")
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
    assert not any(marker.encode() in command for command in running)
    done = bounded(laboratory, "yes", stdout_bytes=1000)
    assert (done.limit_exceeded, len(done.stdout), done.truncated) == ("stdout_bytes", 1000, True)
    done = bounded(laboratory, "python3 -c 'x = bytearray(1 << 30)'", memory_bytes=32 << 20)
    assert done.limit_exceeded == "memory_bytes"


def test_a_host_command_has_a_limit_of_processes(laboratory: Laboratory) -> None:
    source = """
import threading
for started in range(2000):
    try: threading.Thread(target=threading.Event().wait, daemon=True).start()
    except RuntimeError: break
print(1 + started, flush=True)
raise SystemExit(3)
"""
    done = bounded(laboratory, f"exec python3 -c '{source}'")
    assert (done.stdout, done.exit_code, done.limit_exceeded) == (b"1024\n", 3, "processes")


def test_descendants_of_a_host_command_do_not_outlive_it(laboratory: Laboratory) -> None:
    done = bounded(laboratory, "setsid sleep 1000 & echo done")
    assert (done.stdout, done.exit_code, done.limit_exceeded) == (b"done\n", 0, None)
    assert done.wall_time_s < DEADLINE_S / 2


def test_only_root_can_start(laboratory: Laboratory) -> None:
    source = (
        "import asyncio, os; from processors.sandbox import *\nos.setuid(65534)\n"
        "asyncio.run(Sandboxes(SandboxSettings()).start())"
    )
    failed = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=os.environ)
    assert "start the worker as root" in failed.stderr


def test_a_launcher_that_was_killed_is_started_again_and_took_nothing_with_it(
    unprepared: SandboxSettings, laboratory: Laboratory
) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            launchers = own_launchers()  # a child that was just forked is root's for a moment, too
            running = asyncio.create_task(bash(box, "read; echo went on", stdin=b"x"))
            await asyncio.sleep(0)
            for pid in launchers:
                os.kill(pid, signal.SIGKILL)
            assert (await running).stdout == b"went on\n"
            assert own_launchers() == []
            assert (await bash(box, "echo again")).stdout == b"again\n"
            assert len(own_launchers()) == 1

    Laboratory(unprepared, laboratory.groups).run(experiment)


def test_a_launcher_that_does_not_answer_is_replaced(
    unprepared: SandboxSettings, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "FORK_S", 0.5)

    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            for pid in own_launchers():
                os.kill(pid, signal.SIGSTOP)
            with pytest.raises(SandboxError):
                await bash(box, "echo lost")
            assert (await bash(box, "echo again")).stdout == b"again\n"

    Laboratory(unprepared, laboratory.groups).run(experiment)


def own_launchers() -> list[int]:
    """Those that stay: children of this process that are root's."""
    return [pid for pid in children() if _is_roots(pid)]


def _is_roots(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "Name:\tlauncher" in status and "Uid:\t0\t" in status and "State:\tZ" not in status
