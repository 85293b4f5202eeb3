"""Using up memory, of every kind that the kernel hands out."""

from dataclasses import replace

from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import CGROUP_V2, LIMITS, MIB, Attack, c, each, python

ROOM = LIMITS.replace(
    memory_bytes=48 * MIB, file_size_bytes=256 * MIB, box_bytes=256 * MIB, open_files=4096, processes=64
)


def hoarder(name: str, source: str) -> Attack:
    """A Python program that takes more and more memory."""
    program = python("print('before', flush=True)\n" + source)
    return Attack(name, program, ROOM, sees="before\n", ends="SIGKILL", blamed="memory_bytes")


HOARDERS = [
    hoarder("heap", "x = b'x' * (1 << 30)"),
    hoarder(
        "shared", "import mmap; m = mmap.mmap(-1, 1 << 30); [m.write(b'x' * 4096) for _ in range(1 << 18)]"
    ),
    hoarder(
        "memfd", "import os; f = os.memfd_create('x'); [os.write(f, b'x' * 4096) for _ in range(1 << 18)]"
    ),
    hoarder("box", "open('/box/x', 'wb').write(b'x' * (60 << 20))"),
    hoarder("tmp", "open('/tmp/x', 'wb').write(b'x' * (60 << 20))"),
    hoarder("shm", "open('/dev/shm/x', 'wb').write(b'x' * (60 << 20))"),
    hoarder(
        "file-without-a-name", "import tempfile; tempfile.TemporaryFile(dir='/tmp').write(b'x' * (60 << 20))"
    ),
    hoarder(
        "many-processes",
        "import os, time\nfor _ in range(3): os.fork()\nx = b'x' * (10 << 20); time.sleep(99)",
    ),
    hoarder(
        "child-of-an-honest-program",
        "import subprocess, sys, time\n"
        "subprocess.run([sys.executable, '-c', 'x = bytearray(1 << 30)'])"
        "\ntime.sleep(9); print('still there')",
    ),
    hoarder(
        "pipes",
        "import fcntl, os\n"
        "while True:\n"
        "  _, end = os.pipe(); os.set_blocking(end, False)\n"
        "  try: fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 1 << 20)\n"
        "  except PermissionError: pass\n"
        "  os.write(end, bytes(1 << 20))",
    ),
    hoarder(
        "sockets",
        "import socket\n"
        "kept = []\n"
        "while True:\n"
        "  pair = socket.socketpair(); kept.append(pair); pair[0].setblocking(False)\n"
        "  try: \n"
        "    while True: pair[0].send(bytes(65536))\n"
        "  except BlockingIOError: pass",
    ),
    hoarder(
        "system-v-shared-memory",
        "import ctypes\n"
        "libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p\n"
        "while True:\n"
        "  address = libc.shmat(libc.shmget(0, 1 << 20, 0o1600), None, 0)\n"
        "  ctypes.memset(address, 1, 1 << 20); libc.shmdt(ctypes.c_void_p(address))",
    ),
    hoarder(
        "system-v-messages",
        "import ctypes\n"
        "libc = ctypes.CDLL(None); message = ctypes.create_string_buffer(b'\\1', 8 + 8192)\n"
        "while True:\n"
        "  queue = libc.msgget(0, 0o1600)\n"
        "  while not libc.msgsnd(queue, message, 8192, 0o4000): pass",
    ),
    hoarder(
        "system-v-semaphores",
        "import ctypes\nlibc = ctypes.CDLL(None)\nwhile libc.semget(0, 32000, 0o1600) >= 0: pass",
    ),
    replace(
        hoarder("page-tables", ""),
        program=c("""
            int main(void) {
                int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
                char *memory = mmap(NULL, 1L << 36, PROT_READ, flags, -1, 0), sum = 0;
                puts("before");
                fflush(stdout);
                madvise(memory, 1L << 36, MADV_NOHUGEPAGE);
                for (long at = 0; at < 1L << 36; at += 2 << 20) sum += memory[at];
                return sum;
            }
        """),
    ),
]

OTHERS = [
    Attack(
        "page-cache",
        python("""
            import os
            read = 0
            for folder, _, names in os.walk("/usr"):
                for name in names:
                    try: read += len(open(os.path.join(folder, name), "rb").read(8 << 20))
                    except OSError: pass
                    if read > 100 << 20: raise SystemExit("enough")
        """),
        ROOM,
        complains="enough",
        ends=1,
    ),
    Attack(
        "names-of-what-does-not-exist",
        python("""
            import os
            for number in range(30_000):
                for folder in "/usr", "/box": os.path.exists(f"{folder}/{number:0200}")
        """),
        LIMITS.replace(memory_bytes=16 * MIB),
    ),
    Attack(
        "stack",
        c("""
            int deeper(int n) { volatile char room[4096]; room[0] = n; return deeper(n + 1) + room[0]; }
            int main(void) { return deeper(0); }
        """),
        ends="SIGSEGV",
    ),
    Attack(
        "locked-memory",
        c("""
            int main(void) {
                int flags = MAP_PRIVATE | MAP_ANONYMOUS;
                void *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
                puts(mlock(memory, 1 << 20) ? strerrorname_np(errno) : "locked");
                puts(mlockall(MCL_FUTURE) ? strerrorname_np(errno) : "locked");
            }
        """),
        sees="ENOMEM\nlocked\n",
    ),
    Attack(
        "never-be-chosen-by-the-kernel",
        python("""
            import os
            for name, value in ("oom_score_adj", b"-1000"), ("oom_score_adj", b"0"), ("oom_adj", b"0"):
                for own in "/proc/self", f"/proc/self/task/{os.getpid()}", "/proc/thread-self":
                    try: open(f"{own}/{name}", "wb", 0).write(value); print("written")
                    except OSError as error: print(error.strerror)
            print(open("/proc/self/oom_score_adj").read(), end="", flush=True)
            x = bytearray(1 << 30)
        """),
        ROOM,
        sees="Read-only file system\n" * 9 + "1000\n",
        ends="SIGKILL",
        blamed="memory_bytes",
    ),
    Attack(
        "connections",
        python("""
            import socket
            server = socket.create_server(("127.0.0.1", 0)); kept = []; full = 0
            for _ in range(100):
                client = socket.create_connection(server.getsockname()); client.setblocking(False)
                kept += [client, server.accept()[0]]
                try:
                    while True: client.send(bytes(65536))
                except BlockingIOError: full += 1
            print(full)
        """),
        ROOM,
        # Version 1 counts the buffers of sockets apart, up to a limit of their own, and makes senders wait.
        sees="" if CGROUP_V2 else "100\n",
        ends="SIGKILL" if CGROUP_V2 else 0,
        blamed="memory_bytes" if CGROUP_V2 else None,
    ),
    Attack(
        "files-that-only-sockets-hold-that-hold-each-other",
        python("""
            import array, os, socket
            pair = socket.socketpair()
            held = [end.fileno() for end in pair]
            for folder in "/box", "/tmp", "/dev/shm":
                held.append(os.open(f"{folder}/x", os.O_CREAT | os.O_RDWR))
                os.write(held[-1], bytes(8 << 20))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", held))]
            for end in pair: end.sendmsg([b"x"], rights)
            print("sent")
        """),
        sees="sent\n",
    ),
    Attack(
        "message-queues",
        python("""
            import ctypes, errno, os
            libc = ctypes.CDLL(None, use_errno=True)
            result = libc.mq_open(b"/x", os.O_CREAT | os.O_RDWR, 0o600, None)
            print(result, errno.errorcode[ctypes.get_errno()])
        """),
        sees="-1 EMFILE\n",
    ),
]


@each(HOARDERS)
def test_memory_is_taken_up_to_the_limit(arena: Arena, attack: Attack) -> None:
    arena.face(attack)


@each(OTHERS)
def test_attack(arena: Arena, attack: Attack) -> None:
    arena.face(attack)
