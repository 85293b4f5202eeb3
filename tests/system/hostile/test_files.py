"""Filling the disk, and files that are hard to get rid of or dangerous to read."""

import pytest

from processors.sandbox import Box, Rootfs
from processors.sandbox.model import Command
from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import LIMITS, MIB, Attack, bash, c, each, python

SMALL = LIMITS.replace(box_bytes=MIB, box_files=50)

FLOODS = [
    Attack(
        "disk",
        bash("head -c 2000000 /dev/zero > x"),
        SMALL,
        complains="No space left on device",
        ends=1,
        blamed="box_bytes",
    ),
    Attack(
        "temporary-folders",
        bash("for d in /tmp /dev/shm; do head -c 2000000 /dev/zero > $d/x; stat -c %s $d/x; done"),
        SMALL,
        complains=r"(.*No space left.*\n){2}",
        sees="1048576\n1048576\n",
    ),
    Attack(
        "inodes",
        python("""
            import itertools
            for folder in "/tmp", "/dev/shm", "/box":
                try:
                    for number in itertools.count(): open(f"{folder}/{number}", "x").close()
                except OSError as error: print(number, error.strerror)
            raise SystemExit(1)
        """),
        SMALL,
        sees="50 No space left on device\n" * 2 + "49 No space left on device\n",
        ends=1,
        blamed="box_files",
    ),
    Attack(
        "links",
        python("""
            import itertools, os
            try:
                for number in itertools.count(): os.link("main.py", str(number))
            except OSError as error: print(number, error.strerror)
        """),
        SMALL,
        sees="49 No space left on device\n",
    ),
    Attack(
        "attributes",
        python("""
            import os
            for number in range(100_000):
                try: os.setxattr("main.py", f"user.{number}", bytes(60_000))
                except OSError as error: raise SystemExit(error.strerror)
        """),
        SMALL,
        complains=r"\A(No space left on device|Operation not supported)\n\Z",
        ends=1,
    ),
    Attack(
        "files-that-are-deleted-but-open",
        python("""
            import os
            try:
                while True:
                    file = os.open("x", os.O_CREAT | os.O_WRONLY)
                    os.unlink("x"); os.write(file, bytes(100_000))
            except OSError as error: print(error.strerror)
        """),
        SMALL,
        sees="No space left on device\n",
    ),
    Attack(
        "reserved-space",
        python("import os; os.posix_fallocate(os.open('x', os.O_CREAT | os.O_WRONLY), 0, 2 << 20)"),
        SMALL,
        complains="No space left on device",
        ends=1,
    ),
    Attack(
        "mapped-file-larger-than-the-disk",
        c("""
            int main(void) {
                int file = open("x", O_CREAT | O_RDWR, 0600);
                if (ftruncate(file, 20 << 20)) return 1;
                memset(mmap(NULL, 20 << 20, PROT_WRITE, MAP_SHARED, file, 0), 1, 20 << 20);
            }
        """),
        SMALL,
        ends="SIGBUS",
        blamed="box_bytes",
    ),
    Attack(
        "file-with-a-hole",
        bash("exec truncate -s 1T x"),
        ends="SIGXFSZ",
        blamed="file_size_bytes",
    ),
    Attack(
        "large-file",
        bash("exec head -c 2000000 /dev/zero > x"),
        LIMITS.replace(file_size_bytes=MIB),
        ends="SIGXFSZ",
        blamed="file_size_bytes",
    ),
]

HARD_TO_REMOVE = [
    Attack(
        "deep-tree-of-huge-names",
        python("""
            import os
            for _ in range(500): os.mkdir('x' * 255, 0o700); os.chdir('x' * 255)
            try: os.mkdir('x' * 256)
            except OSError as error: print(error.strerror)
        """),
        sees="File name too long\n",
    ),
    Attack(
        "tree-as-deep-as-there-are-inodes",
        python("""
            import itertools, os
            try:
                for depth in itertools.count(): os.mkdir('x'); os.chdir('x')
            except OSError as error: print(depth, error.strerror)
        """),
        LIMITS.replace(box_files=20_000),
        sees="19999 No space left on device\n",
    ),
    Attack("closed-folders", bash("mkdir -p a/b; : > a/b/c; chmod 0 a/b/c a/b a /box"), sees=""),
    Attack(
        "strange-names",
        bash(r"touch -- -rf ' ' $'\n' $'\xff' '*' '$(reboot)' '..x' && ls | wc -l"),
        sees="7\n",
    ),
    Attack(
        "immutable-files",
        python("""
            import array, errno, fcntl, os
            for flag in 0x10, 0x20:  # as chattr +i and +a
                try: fcntl.ioctl(os.open("main.py", os.O_RDONLY), 0x40086602, array.array("L", [flag]))
                except OSError as error: print(error.errno in (errno.EPERM, errno.ENOTTY))
        """),
        sees="True\nTrue\n",
    ),
    Attack(
        "files-in-use",
        bash(
            "cp /bin/sleep sleeper; (setsid ./sleeper 1000 &); cd /; exec 9> /box/open; (setsid sleep 1000 &)"
        ),
    ),
    Attack(
        "locks-and-leases",
        c("""
            int main(void) {
                int file = open("x", O_CREAT | O_RDWR, 0600);
                printf("%d ", fcntl(file, F_SETLEASE, F_WRLCK));
                struct flock lock = {.l_type = F_WRLCK};
                printf("%d\\n", fcntl(file, F_SETLK, &lock));
                fflush(stdout);
                if (fork() == 0) { setsid(); pause(); }
            }
        """),
        sees="0 0\n",
        afterwards=lambda box: box.read("x", 1),
    ),
    Attack(
        "box-itself",
        bash("cd /; rmdir /box; mv /box /tmp/box; rm -rf /box; ls -d /box"),
        complains=r"(?s)busy|Read-only",
        sees="/box\n",
    ),
]

SPECIAL = [
    Attack(
        "device",
        bash("mknod disk b 8 0; mknod zero c 1 5; ls"),
        complains=r"(.*Operation not permitted\n){2}",
    ),
    Attack(
        "set-user-id",
        bash("cp /usr/bin/id id; chmod 6755 id; ./id -u; stat -c %a id"),
        sees="1000\n6755\n",
    ),
    Attack(
        "owner",
        bash("chown 0 /box; chown 1001 /box; echo x > x; chgrp 0 x"),
        complains=r"(.*(Invalid argument|Operation not permitted)\n){3}",
        ends=1,
    ),
]


@each([*FLOODS, *HARD_TO_REMOVE, *SPECIAL])
def test_attack(arena: Arena, attack: Attack) -> None:
    arena.face(attack)


NOT_A_RESULT = """
    import os, socket, stat
    os.mkdir("dir")
    try: os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(0, 0))  # the one that a user may make
    except PermissionError: pass
    os.symlink("/etc/passwd", "link"); os.symlink("/etc", "folder"); os.symlink("result", "inner")
    os.symlink("../dir", "dir/loop"); os.symlink("loop", "loop"); os.symlink("/proc/self/root/etc", "magic")
    os.mkfifo("fifo"); socket.socket(socket.AF_UNIX).bind("socket")
    open("sparse", "w").truncate(30 << 20)
    open("closed", "w").write("x"); os.chmod("closed", 0)
    os.mkdir("locked"); open("locked/x", "w").write("x"); os.chmod("locked", 0)
    open("result", "w").write("result")
"""


@pytest.mark.parametrize("forked", [False, True], ids=["box", "fork"])
def test_what_lies_where_results_are_expected(arena: Arena, forked: bool) -> None:
    """Reading follows no link, leaves the box by no way, never waits and never reads more than it may."""

    def look(box: Box) -> None:
        for name in (
            "link",
            "folder/passwd",
            "magic/passwd",
            "inner",
            "dir",
            "dir/loop/x",
            "loop",
            "fifo",
            "socket",
            "device",
        ):
            with pytest.raises(OSError, match=r".+"):
                box.read(name, MIB)
        for name in (
            "../box/result",
            "/box/result",
            "/etc/passwd",
            "dir/../../x",
            ".",
            "",
            "x" * 256,
            "x/" * 3000,
        ):
            with pytest.raises(OSError, match=r".+"):
                box.read(name, MIB)
        with pytest.raises(OSError, match="larger than"):
            box.read("sparse", MIB)
        assert [box.read(name, 6) for name in ("closed", "locked/x", "result")] == [b"x", b"x", b"result"]

    attack = Attack("results", python(NOT_A_RESULT), afterwards=look)
    if not forked:
        arena.face(attack)
        return

    async def in_a_fork() -> None:
        async with arena.sandboxes.box(attack.program.files(), LIMITS) as box, box.fork(LIMITS) as fork:
            attack.check(await fork.run(Command(attack.program.argv), Rootfs.of_host_tools(), LIMITS))
            look(fork)

    arena.loop.run(in_a_fork())
