"""Each limit does what it says, and only that one is blamed."""

import pytest

from processors.sandbox import SandboxError
from tests.system.hostile.attack import CGROUP_V2
from tests.system.sandbox.laboratory import LIMITS, Laboratory

MIB = 1 << 20
FORK_BOMB = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass\n"


def test_wall_time_ends_the_stage_and_keeps_what_was_printed(laboratory: Laboratory) -> None:
    done = laboratory.script("echo before; sleep 1000", LIMITS.replace(wall_time_s=0.5))
    assert (done.limit_exceeded, done.signal, done.exit_code) == ("wall_time_s", "SIGKILL", None)
    assert done.stdout == b"before\n"
    assert 0.5 <= done.wall_time_s < 5
    assert done.cpu_time_s < done.wall_time_s


def test_cpus_slow_a_program_down(laboratory: Laboratory) -> None:
    script = "(while :; do :; done) & while :; do :; done"
    done = laboratory.script(script, LIMITS.replace(wall_time_s=2, cpus=0.25))
    assert done.limit_exceeded == "wall_time_s"
    assert done.cpu_time_s < 0.9


def test_output_of_just_the_limit_is_no_excess(laboratory: Laboratory) -> None:
    limits = LIMITS.replace(stdout_bytes=100_000, stderr_bytes=1000)
    done = laboratory.script("head -c 100000 /dev/zero; head -c 1000 /dev/zero >&2", limits)
    assert (len(done.stdout), len(done.stderr)) == (100_000, 1000)
    assert (done.limit_exceeded, done.truncated, done.exit_code) == (None, False, 0)


def test_output_over_the_limit_is_blamed_after_the_end_too(laboratory: Laboratory) -> None:
    done = laboratory.script("head -c 1001 /dev/zero; exit 0", LIMITS.replace(stdout_bytes=1000))
    assert (done.limit_exceeded, done.truncated, len(done.stdout)) == ("stdout_bytes", True, 1000)


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


def test_buffers_of_sockets_are_memory(laboratory: Laboratory) -> None:
    source = (
        "import socket; kept = []\n"
        "for _ in range(200):\n"
        "  kept.append(socket.socket(type=socket.SOCK_DGRAM)); kept[-1].bind(('127.0.0.1', 0))\n"
        "  for _ in range(100): kept[-1].sendto(bytes(60000), kept[-1].getsockname())\n"
    )
    done = laboratory.python(source, LIMITS.replace(memory_bytes=256 * MIB, open_files=1024))
    assert (done.exit_code, done.limit_exceeded) == (0, None)
    if CGROUP_V2:
        assert done.memory_bytes > 32 * MIB
    else:
        assert 16 * MIB < done.memory_bytes < 64 * MIB


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
