"""System calls that reach for the kernel, the machine or other processes."""

import os

import pytest

from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import IPV6, USER_MODE_LINUX, Attack, bash, c, each, python

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")

NEW_USER = 0x10000000
REFUSED = {
    "ptrace": (101, 0, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0),
    "process_madvise": (440, 1, 0, 0, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0),
    "pivot_root": (155, 0, 0),
    "chroot": (161, 0),
    "open_tree": (428, 0, 0, 0),
    "move_mount": (429, 0, 0, 0, 0, 0),
    "fsopen": (430, 0, 0),
    "mount_setattr": (442, 0, 0, 0, 0, 0),
    "unshare": (272, NEW_USER),
    "setns": (308, 0, 0),
    "clone": (56, NEW_USER | 17, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "userfaultfd": (323, 0),
    "io_setup": (206, 1, 0),
    "io_uring_setup": (425, 1, 0),
    "io_uring_enter": (426, 0, 0, 0, 0, 0, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "request_key": (249, 0, 0, 0, 0),
    "keyctl": (250, 0, 0, 0, 0, 0),
    "open_by_handle_at": (304, 0, 0, 0),
    "fanotify_init": (300, 0, 0),
    "seccomp": (317, 1, 0, 0),
    "prctl with a filter": (157, 22, 2, 0),
    "prctl with more than an int": (157, 1 << 32 | 22, 2, 0),
    **{f"setsockopt {option}": (54, 0, 1, option, 0, 0) for option in (26, 50, 51, 52)},
    "setsockopt with more than an int": (54, 0, 1 << 32 | 1, 1 << 32 | 26, 0, 0),
    "init_module": (175, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "swapon": (167, 0, 0),
    "sethostname": (170, 0, 0),
    "settimeofday": (164, 0, 0),
    "iopl": (172, 3),
    "ioperm": (173, 0, 1, 1),
    "syslog": (103, 3, 0, 0),
    "acct": (163, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "mbind": (237, 0, 0, 0, 0, 0, 0),
    "migrate_pages": (256, 1, 0, 0, 0),
    "vmsplice": (278, 1, 0, 0, 0),
}
HIDDEN = {"clone3": (435, 0, 0), "newest": (1000,), "tuxcall": (184,)}
CALLER = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    print(name, "done" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""


def caller(calls: dict[str, tuple[int, ...]]) -> str:
    return CALLER + "\n".join(f"call({name!r}, {', '.join(map(str, call))})" for name, call in calls.items())


ATTACKS = [
    Attack("refused", python(caller(REFUSED)), sees="".join(f"{name} EPERM\n" for name in REFUSED)),
    Attack("hidden", python(caller(HIDDEN)), sees="".join(f"{name} ENOSYS\n" for name in HIDDEN)),
    Attack(
        "disks-of-the-host-made-to-write",
        c("""
            int main(void) {
                sync();
                printf("%d", syncfs(-1)); /* which the kernel would refuse */
            }
        """),
        sees="0",
    ),
    Attack("x32", c("int main(void) { return syscall(0x40000000 | 39); }"), ends="SIGSYS"),
    Attack(
        "keystrokes-for-a-terminal",
        c("""
            int main(void) {
                char key = 'x';
                for (int fd = 0; fd < 3; fd++)
                    printf("%s ", ioctl(fd, TIOCSTI, &key) ? strerrorname_np(errno) : "done");
                const char *terminals[] = {"/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts/0"};
                for (int i = 0; i < 4; i++)
                    printf("%s ", open(terminals[i], O_RDWR) < 0 ? strerrorname_np(errno) : "done");
                puts(ioctl(0, TIOCSCTTY, 1) ? strerrorname_np(errno) : "done");
            }
        """),
        sees="ENOTTY ENOTTY ENOTTY ENOENT ENOENT ENOENT ENOENT ENOTTY\n",
    ),
    Attack(
        "debugger",
        c("""
            int main(void) {
                pid_t child = fork();
                if (child == 0) pause();
                puts(syscall(SYS_ptrace, 16, child, 0, 0) ? strerrorname_np(errno) : "attached");
                puts(syscall(SYS_ptrace, 0, 0, 0, 0) ? strerrorname_np(errno) : "traced");
                char path[50];
                snprintf(path, sizeof path, "/proc/%d/mem", child);
                puts(open(path, O_RDWR) < 0 ? strerrorname_np(errno) : "its own child's memory");
                kill(child, SIGKILL);
            }
        """),
        sees="EPERM\nEPERM\nits own child's memory\n",
    ),
    Attack(
        "other-users",
        c("""
            int main(void) {
                puts(setuid(0) ? strerrorname_np(errno) : "done");
                puts(setresuid(0, 1000, 65534) ? strerrorname_np(errno) : "done");
                puts(setgid(5) ? strerrorname_np(errno) : "done");
                gid_t group = 0;
                puts(syscall(SYS_setgroups, 1, &group) ? strerrorname_np(errno) : "done");
            }
        """),
        sees="EINVAL\nEINVAL\nEINVAL\nEPERM\n",
    ),
    Attack(
        "capabilities-by-new-namespaces",
        bash("""
            unshare --user --map-root-user id
            unshare --mount true
            nsenter --target 1 --all true
            echo done
        """),
        complains=r"(.*Operation not permitted\n){2}.*No such file or directory\n",
        sees="done\n",
    ),
    Attack(
        "filters-that-no-control-group-counts",
        c("""
            #include <linux/filter.h>
            #include <sys/prctl.h>
            #include <sys/socket.h>
            static void tell(int result) { printf("%s ", result ? strerrorname_np(errno) : "done"); }
            int main(void) {
                struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, 0x7fff0000);
                struct sock_fprog program = {1, &allow};
                int ends[2], on = 1;
                tell(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
                tell(setsockopt(ends[0], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
                tell(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
                tell(setsockopt(socket(AF_INET6, SOCK_DGRAM, 0), 41, 26, &on, sizeof on));
                tell(prctl(PR_SET_SECCOMP, 2, &program));
                tell(prctl(PR_SET_NAME, "name"));
                tell(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
            }
        """),
        sees=f"done EPERM done {'done' if IPV6 else 'EBADF'} EPERM done EINVAL ",
    ),
]


INT80 = Attack(
    "int80",
    c("""
        int main(void) {
            long result = 20; /* getpid, in 32 bit */
            __asm__ volatile("int $0x80" : "+a"(result));
            return result > 0;
        }
    """),
    ends="SIGSYS",
)


@each(ATTACKS)
def test_attack(arena: Arena, attack: Attack) -> None:
    arena.face(attack)


@pytest.mark.skipif(USER_MODE_LINUX, reason="this kernel takes it for a system call of 64 bit")
def test_system_calls_of_32_bit(arena: Arena) -> None:
    arena.face(INT80)
