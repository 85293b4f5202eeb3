"""Printing without end, and games with the standard streams."""

import pytest

from processors.sandbox import stage
from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import LIMITS, Attack, bash, c, each, python
from tests.system.sandbox.laboratory import DEADLINE_S

SMALL = LIMITS.replace(stdout_bytes=100_000, stderr_bytes=100_000)
FLOOD = "y\n" * 50_000

FLOODS = [
    Attack("flood", bash("yes"), SMALL, sees=FLOOD, ends="SIGKILL", blamed="stdout_bytes"),
    Attack(
        "flood-of-errors",
        bash("yes >&2"),
        SMALL,
        complains=r"\A(y\n){50000}\Z",
        ends="SIGKILL",
        blamed="stderr_bytes",
    ),
    Attack(
        "flood-as-large-as-may-be",
        bash("exec head -c 1G /dev/zero"),
        LIMITS.replace(stdout_bytes=4 << 20),
        sees="\0" * (4 << 20),
        ends="SIGKILL",
        blamed="stdout_bytes",
    ),
    Attack(
        "flood-by-many-processes",
        bash("for i in {1..20}; do yes & done; wait"),
        SMALL,
        sees=FLOOD,
        ends="SIGKILL",
        blamed="stdout_bytes",
    ),
    Attack(
        "flood-by-a-daemon-that-ignores-signals",
        bash("trap '' TERM HUP PIPE INT; (setsid yes &); sleep 1000"),
        SMALL,
        sees=FLOOD,
        ends="SIGKILL",
        blamed="stdout_bytes",
    ),
    Attack(
        "flood-that-never-waits",
        python("""
            import os
            os.set_blocking(1, False)
            while True:
                try: os.write(1, b"y\\n")
                except BlockingIOError: pass
        """),
        SMALL,
        sees=FLOOD,
        ends="SIGKILL",
        blamed="stdout_bytes",
    ),
    Attack(
        "flood-from-memory-into-the-pipe",
        python("""
            import os
            file = os.open("x", os.O_CREAT | os.O_RDWR)
            os.write(file, b"y\\n" * 1000)
            while True: os.sendfile(1, file, 0, 2000)
        """),
        SMALL,
        sees=FLOOD,
        ends="SIGKILL",
        blamed="stdout_bytes",
    ),
]

STREAMS = [
    Attack("closed-output", bash("exec >&- 2>&-; sleep 0.2; exit 7"), ends=7),
    Attack(
        "output-that-only-a-daemon-has-open", bash("(setsid sleep 1000 &); exec >&- 2>&-; exit 7"), ends=7
    ),
    Attack(
        "pipes-made-larger-and-read-back",
        python("""
            import fcntl, os
            fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
            own = os.open("/dev/stdout", os.O_RDONLY)
            if not os.fork():
                while os.read(own, 1 << 20): pass
            for _ in range(100): os.write(1, bytes(10_000))
        """),
        LIMITS,
        sees=None,
    ),
    Attack(
        "lies-to-the-worker",
        bash("for to in {0..20}; do echo 'ended 0 1' >&$to; done 2> /dev/null; echo 'ended 0 1' >&2; exit 3"),
        sees="ended 0 1\n",
        complains=r"\A(ended 0 1\n)+\Z",
        ends=3,
    ),
    Attack(
        "exit-code-of-a-signal",
        bash("exit 139"),
        ends=139,
    ),
    Attack(
        "signal-sent-to-itself",
        c("int main(void) { signal(SIGKILL, SIG_IGN); kill(getpid(), SIGKILL); }"),
        ends="SIGKILL",
    ),
]

INPUTS = [
    Attack("input-that-nobody-reads", bash("exit 0"), stdin=bytes(4 << 20)),
    Attack(
        "input-read-for-ever",
        python("import os\nwhile True: os.lseek(0, 0, os.SEEK_SET); os.read(0, 9)"),
        LIMITS.replace(wall_time_s=0.3),
        stdin=b"x",
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "device-read-for-ever",
        bash("cat /dev/zero > /dev/null"),
        LIMITS.replace(wall_time_s=0.3),
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "input-that-never-comes",
        bash("sleep 1000 | cat"),
        LIMITS.replace(wall_time_s=0.3),
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "input-that-is-written-to",
        python("""
            import fcntl, mmap, os
            for change in (
                lambda: os.open("/dev/stdin", os.O_RDWR),
                lambda: os.write(0, b"y"),
                lambda: os.ftruncate(0, 0),
                lambda: os.posix_fallocate(0, 0, 1 << 20),
                lambda: fcntl.fcntl(0, fcntl.F_ADD_SEALS, 0),
                lambda: mmap.mmap(0, 1),
            ):
                try: change(); print("done")
                except OSError as error: print(error.strerror)
            print(os.read(0, 9))
        """),
        stdin=b"x",
        sees="Permission denied\n" + "Operation not permitted\n" * 5 + "b'x'\n",
    ),
]


@each([*FLOODS, *STREAMS, *INPUTS])
def test_attack(arena: Arena, attack: Attack) -> None:
    arena.face(attack)


def test_output_that_only_sockets_hold_that_hold_each_other(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker sees the end of the pipes, not only that they do not end."""
    monkeypatch.setattr(stage, "OUTPUT_GRACE_S", 10 * DEADLINE_S)
    program = python("""
        import array, os, socket
        pair = socket.socketpair()
        rights = array.array("i", [1, 2, *(end.fileno() for end in pair)])
        for end in pair: end.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        print("sent")
    """)
    arena.face(Attack("output-in-sockets", program, sees="sent\n"))
