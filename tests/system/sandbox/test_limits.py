"""Each limit does what it says, and only that one is blamed."""

import pytest

from processors.sandbox import SandboxError
from tests.system.sandbox.laboratory import LIMITS, Laboratory

MIB = 1 << 20
FORK_BOMB = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass\n"


def test_wall_time_ends_the_stage_and_keeps_what_was_printed(laboratory: Laboratory) -> None:
    done = laboratory.script("echo before; sleep 1000", LIMITS.replace(wall_time_s=0.5))
    assert (done.limit_exceeded, done.signal, done.exit_code) == ("wall_time_s", "SIGKILL", None)
    assert done.stdout == b"before\n"
    assert 0.5 <= done.wall_time_s < 5
    assert done.cpu_time_s < 0.4


def test_cpu_time_of_one_process(laboratory: Laboratory) -> None:
    done = laboratory.script("while :; do :; done", LIMITS.replace(cpu_time_s=0.5))
    assert (done.limit_exceeded, done.signal) == ("cpu_time_s", "SIGKILL")
    assert 0.5 <= done.cpu_time_s < 0.8


def test_cpu_time_of_all_processes_together(laboratory: Laboratory) -> None:
    script = "for i in 1 2 3 4; do (while :; do :; done) & done; wait"
    done = laboratory.script(script, LIMITS.replace(cpu_time_s=1, cpus=2))
    assert done.limit_exceeded == "cpu_time_s"
    assert 1 <= done.cpu_time_s < 1.5


def test_cpus_slow_a_program_down(laboratory: Laboratory) -> None:
    script = "(while :; do :; done) & while :; do :; done"
    done = laboratory.script(script, LIMITS.replace(wall_time_s=2, cpus=0.25))
    assert done.limit_exceeded == "wall_time_s"
    assert done.cpu_time_s < 0.9


@pytest.mark.parametrize(
    "source",
    [
        "x = b'x' * (1 << 30)",
        "open('/dev/shm/x', 'wb').write(b'x' * (60 << 20))",
        "open('/tmp/x', 'wb').write(b'x' * (60 << 20))",
        "open('/box/x', 'wb').write(b'x' * (60 << 20))",
        "import mmap; m = mmap.mmap(-1, 1 << 30); [m.write(b'x' * 4096) for _ in range(1 << 18)]",
        "import os; f = os.memfd_create('x'); [os.write(f, b'x' * 4096) for _ in range(1 << 18)]",
        "import os, time\nfor _ in range(3): os.fork()\nx = b'x' * (10 << 20); time.sleep(9)",
    ],
    ids=["heap", "shm", "tmp", "box", "shared", "memfd", "many-processes"],
)
def test_memory_of_all_kinds_and_processes(laboratory: Laboratory, source: str) -> None:
    limits = LIMITS.replace(memory_bytes=48 * MIB, file_size_bytes=256 * MIB, box_bytes=256 * MIB)
    done = laboratory.python("print('before', flush=True)\n" + source, limits)
    assert (done.limit_exceeded, done.signal) == ("memory_bytes", "SIGKILL")
    assert done.stdout == b"before\n"
    assert 40 * MIB < done.memory_bytes <= 48 * MIB


def test_memory_limit_in_a_child_ends_the_whole_stage(laboratory: Laboratory) -> None:
    done = laboratory.script(
        "python3 -c 'x = bytearray(1 << 30)'; sleep 1; echo still there",
        LIMITS.replace(memory_bytes=32 * MIB),
    )
    assert done.limit_exceeded == "memory_bytes"
    assert b"still there" not in done.stdout


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_floods_are_cut(laboratory: Laboratory, stream: str) -> None:
    limits = LIMITS.replace(stdout_bytes=100_000, stderr_bytes=100_000)
    done = laboratory.script(f"yes >&{1 if stream == 'stdout' else 2}", limits)
    assert (done.limit_exceeded, done.truncated) == (f"{stream}_bytes", True)
    assert done.signal == "SIGKILL"
    assert getattr(done, stream) == (b"y\n" * 50_000)


def test_output_of_just_the_limit_is_no_excess(laboratory: Laboratory) -> None:
    limits = LIMITS.replace(stdout_bytes=100_000, stderr_bytes=1000)
    done = laboratory.script("head -c 100000 /dev/zero; head -c 1000 /dev/zero >&2", limits)
    assert (len(done.stdout), len(done.stderr)) == (100_000, 1000)
    assert (done.limit_exceeded, done.truncated, done.exit_code) == (None, False, 0)


def test_output_over_the_limit_is_blamed_after_the_end_too(laboratory: Laboratory) -> None:
    done = laboratory.script("head -c 1001 /dev/zero; exit 0", LIMITS.replace(stdout_bytes=1000))
    assert (done.limit_exceeded, done.truncated, len(done.stdout)) == ("stdout_bytes", True, 1000)


def test_file_size(laboratory: Laboratory) -> None:
    done = laboratory.script("exec head -c 2000000 /dev/zero > x", LIMITS.replace(file_size_bytes=MIB))
    assert (done.limit_exceeded, done.signal) == ("file_size_bytes", "SIGXFSZ")


def test_processes_are_refused_and_the_program_lives_on(laboratory: Laboratory) -> None:
    source = """
        import os, sys, time
        children = []
        try:
            while True:
                pid = os.fork()
                if not pid: time.sleep(1000)
                children.append(pid)
        except BlockingIOError:
            print(1 + len(children))
        sys.exit(int(sys.stdin.read() or 0))
    """.replace("\n        ", "\n")
    limits = LIMITS.replace(processes=7)
    fine = laboratory.python(source, limits)
    assert (fine.stdout, fine.exit_code, fine.limit_exceeded) == (b"7\n", 0, None)
    failed = laboratory.python(source, limits, stdin=b"3")
    assert (failed.exit_code, failed.limit_exceeded) == (3, "processes")


def test_one_process_is_enough_to_run(laboratory: Laboratory) -> None:
    done = laboratory.script("echo $((1 + 1))", LIMITS.replace(processes=1))
    assert (done.stdout, done.exit_code, done.limit_exceeded) == (b"2\n", 0, None)


def test_a_fork_bomb_is_bounded_and_gone_in_the_end(laboratory: Laboratory) -> None:
    done = laboratory.python(FORK_BOMB, LIMITS.replace(processes=100, wall_time_s=1, cpus=2))
    assert done.limit_exceeded == "wall_time_s"
    assert done.wall_time_s < 5


def test_open_files_are_refused_and_never_blamed(laboratory: Laboratory) -> None:
    source = "import os\nwhile True: last = os.open('/dev/null', 0); print(last, flush=True)"
    done = laboratory.python(source, LIMITS.replace(open_files=20))
    assert done.stdout.split()[-1] == b"19"
    assert b"Too many open files" in done.stderr
    assert (done.exit_code, done.limit_exceeded) == (1, None)


def test_box_bytes(laboratory: Laboratory) -> None:
    limits = LIMITS.replace(box_bytes=MIB)
    failed = laboratory.script("head -c 2000000 /dev/zero > x", limits)
    assert (failed.exit_code, failed.limit_exceeded) == (1, "box_bytes")
    assert b"No space left" in failed.stderr
    fine = laboratory.script("head -c 2000000 /dev/zero > x; stat -c %s x", limits)
    assert (fine.stdout, fine.limit_exceeded) == (b"1048576\n", None)


def test_box_files(laboratory: Laboratory) -> None:
    limits = LIMITS.replace(box_files=10)
    failed = laboratory.script("for i in {1..11}; do : > $i || exit 1; done", limits)
    assert (failed.exit_code, failed.limit_exceeded) == (1, "box_files")
    fine = laboratory.script("for i in {1..10}; do : > $i || exit 1; done", limits)
    assert (fine.exit_code, fine.limit_exceeded) == (0, None)


def test_temporary_folders_are_bounded(laboratory: Laboratory) -> None:
    limits = LIMITS.replace(box_bytes=MIB)
    done = laboratory.script("for d in /tmp /dev/shm; do head -c 2000000 /dev/zero > $d/x; done", limits)
    assert done.stderr.count(b"No space left") == 2


def test_a_program_inside_all_limits_is_not_disturbed(laboratory: Laboratory) -> None:
    limits = LIMITS.replace(
        wall_time_s=20,
        cpu_time_s=10,
        memory_bytes=64 * MIB,
        processes=8,
        file_size_bytes=8 * MIB,
        box_files=16,
    )
    source = (
        "import threading; x = bytearray(20 << 20); open('f', 'wb').write(bytes(7 << 20))\n"
        "t = [threading.Thread(target=sum, args=(range(10**6),)) for _ in range(6)]\n"
        "[i.start() for i in t]; [i.join() for i in t]; print('done')"
    )
    done = laboratory.python(source, limits)
    assert (done.stdout, done.stderr, done.exit_code, done.limit_exceeded) == (b"done\n", b"", 0, None)
    assert done.cpu_time_s > 0.05
    assert done.memory_bytes > 27 * MIB


def test_a_full_machine_is_not_the_programs_fault(laboratory: Laboratory) -> None:
    crowded = Laboratory(laboratory.settings.model_copy(update={"total_memory_bytes": 32 * MIB}))
    with pytest.raises(SandboxError, match="out of memory"):
        crowded.python("x = bytearray(100 << 20)", LIMITS.replace(memory_bytes=256 * MIB))
