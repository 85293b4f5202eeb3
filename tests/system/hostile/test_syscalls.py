"""System calls that reach for the kernel, the machine or other processes."""

import os
from collections.abc import Mapping

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
    "clone of a thread in a namespace": (56, NEW_USER | 0x10D00, 0, 0, 0, 0),
    "clone that shares descriptors": (56, 0x400 | 17, 0, 0, 0, 0),
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
HIDDEN = {
    "clone3": (435, 0, 0),
    "modify_ldt": (154, 0, 0, 0),
    "memfd_secret": (447, 0),
    "landlock_create_ruleset": (444, 0, 0, 1),
    "landlock_add_rule": (445, 0, 1, 0, 0),
    "landlock_restrict_self": (446, 0, 0),
    "cachestat": (451, 0, 0, 0, 0),
    "newest": (1000,),
    "tuxcall": (184,),
}
UNSUPPORTED = {
    "setxattr": (188, 0, 0, 0, 0, 0),
    "lsetxattr": (189, 0, 0, 0, 0, 0),
    "fsetxattr": (190, 1, 0, 0, 0, 0),
}
PRETENDED = {  # the kernel would refuse each
    "syncfs": (306, -1),
    "fsync": (74, -1),
    "fdatasync": (75, -1),
    "sync_file_range": (277, -1, 0, 0, 0),
    "fadvise64": (221, -1, 0, 0, 0),
}
LOCKS_OF_OPEN_FILES = {f"fcntl {command}": (72, 0, command, 0) for command in (36, 37, 38, 1 << 32 | 37)}
UNKNOWN_OPTIONS = {
    f"setsockopt {level} {option}": (54, 0, level, option, 0, 0)
    for level, options in {
        0: (4, 35, 36, 39, 41, 42, 46, 48, 64),  # IP_OPTIONS, memberships, sources, iptables
        1: (1, 26, 50, 51, 52, 60, 1 << 32 | 7),  # filters, SO_ZEROCOPY, more than an int
        6: (14, 31, 32, 33, 38, 39, 40),  # MD5SIG, ULP, MD5SIG_EXT, FASTOPEN_KEY, AO
        17: (100,),  # UDP_ENCAP
        41: (6, 20, 27, 32, 42, 46, 48, 54, 55, 57, 59, 64),  # headers, memberships, labels, ip6tables
        263: (1,),  # SOL_PACKET
        282: (1,),  # SOL_TLS
        1 << 32 | 1: (7,),
    }.items()
    for option in options
}
CALLER = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    result = libc.syscall(number, *map(ctypes.c_long, arguments))
    print(name, "done" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""


def caller(calls: Mapping[str, tuple[int, ...]]) -> str:
    return CALLER + "\n".join(f"call({name!r}, {', '.join(map(str, call))})" for name, call in calls.items())


ATTACKS = [
    Attack("refused", python(caller(REFUSED)), sees="".join(f"{name} EPERM\n" for name in REFUSED)),
    Attack("hidden", python(caller(HIDDEN)), sees="".join(f"{name} ENOSYS\n" for name in HIDDEN)),
    Attack(
        "unsupported",
        python(caller(UNSUPPORTED)),
        sees="".join(f"{name} ENOTSUP\n" for name in UNSUPPORTED),
    ),
    Attack(
        "disks-of-the-host-made-to-write",
        python(caller({"sync": (162,), **PRETENDED})),
        sees="sync done\n" + "".join(f"{name} done\n" for name in PRETENDED),
    ),
    Attack(
        "locks-of-open-files",
        python(caller(LOCKS_OF_OPEN_FILES)),
        sees="".join(f"{name} EINVAL\n" for name in LOCKS_OF_OPEN_FILES),
    ),
    Attack(
        "options-of-sockets",
        python(caller(UNKNOWN_OPTIONS)),
        sees="".join(f"{name} ENOPROTOOPT\n" for name in UNKNOWN_OPTIONS),
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
        sees="EPERM\nEPERM\nEROFS\n",
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
        sees=f"done ENOPROTOOPT done {'done' if IPV6 else 'EBADF'} EPERM done EINVAL ",
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
