"""The system calls that a program may make."""

import errno
import os

import pyseccomp as libseccomp

from processors.sandbox.descriptors import sealed_memory

# What changes or inspects the machine, other processes, namespaces, keys or NUMA placement, and what has had
# more holes than a program in a sandbox has uses for it. Denied calls answer EPERM.
_DENIED = """
acct add_key adjtimex bpf chroot clock_adjtime clock_settime create_module delete_module fanotify_init
fanotify_mark finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module
io_setup io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl
lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages name_to_handle_at nfsservctl
open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise process_mrelease
process_vm_readv process_vm_writev ptrace query_module quotactl quotactl_fd reboot request_key
set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon sysfs
syslog _sysctl umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old vmsplice
"""
DENIED = frozenset(_DENIED.split())
PRETENDED = frozenset({"sync", "syncfs"})
"""They answer 0 and do nothing, as all that a program writes is in memory: it would wait for the host's disks."""

CLONE_NEW = 0x7E020000
"""CLONE_NEW* as clone takes them: mount, control group, UTS, IPC, user, pid and network namespaces."""
ALLOWED_SOCKET_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6; others are seldom used and often attacked."""
LAST_SYSCALL = 1023
"""No architecture of ours has numbers above it."""


def make_filter() -> int:
    """Return a descriptor of the compiled filter; any number of stages may read it.

    Calls that libseccomp does not know, newer ones too, answer ENOSYS. Calls by another architecture's
    numbers (32 bit, x32) end the process with SIGSYS.
    """
    rules = libseccomp.SyscallFilter(libseccomp.ERRNO(errno.ENOSYS))
    rules.set_attr(libseccomp.Attr.ACT_BADARCH, libseccomp.KILL_PROCESS)
    rules.set_attr(libseccomp.Attr.CTL_OPTIMIZE, 2)  # a tree instead of a list
    special = {
        "clone": _allow_clone,
        "clone3": _hide,
        "prlimit64": _allow_own_limits,
        "socket": _allow_socket,
        "socketpair": _allow_socket,
    }
    for name in _known_syscalls():
        if name in special:
            special[name](rules, name)
        elif name in DENIED:
            rules.add_rule(libseccomp.ERRNO(errno.EPERM), name)
        elif name in PRETENDED:
            rules.add_rule(libseccomp.ERRNO(0), name)
        else:
            rules.add_rule(libseccomp.ALLOW, name)
    return _export(rules)


def _known_syscalls() -> list[str]:
    arch = libseccomp.system_arch()
    names = []
    for number in range(LAST_SYSCALL + 1):
        try:
            names.append(libseccomp.resolve_syscall(arch, number).decode())
        except (OSError, ValueError):
            continue
    return names


def _allow_clone(rules: libseccomp.SyscallFilter, name: str) -> None:
    rules.add_rule(libseccomp.ALLOW, name, libseccomp.Arg(0, libseccomp.MASKED_EQ, CLONE_NEW, 0))
    for bit in (1 << shift for shift in range(32)):
        if bit & CLONE_NEW:
            rules.add_rule(
                libseccomp.ERRNO(errno.EPERM), name, libseccomp.Arg(0, libseccomp.MASKED_EQ, bit, bit)
            )


def _hide(_rules: libseccomp.SyscallFilter, _name: str) -> None:
    """Leave ENOSYS: a filter cannot see the flags of clone3, which are in memory; libc then uses clone."""


def _allow_own_limits(rules: libseccomp.SyscallFilter, name: str) -> None:
    """Refuse to set limits by process id: those of pid 1, the same user, would end it by its CPU time."""
    rules.add_rule(libseccomp.ALLOW, name, libseccomp.Arg(0, libseccomp.EQ, 0))
    by_id = libseccomp.Arg(0, libseccomp.NE, 0)
    rules.add_rule(libseccomp.ALLOW, name, by_id, libseccomp.Arg(2, libseccomp.EQ, 0))  # only asks
    rules.add_rule(libseccomp.ERRNO(errno.EPERM), name, by_id, libseccomp.Arg(2, libseccomp.NE, 0))


def _allow_socket(rules: libseccomp.SyscallFilter, name: str) -> None:
    for family in ALLOWED_SOCKET_FAMILIES:
        rules.add_rule(libseccomp.ALLOW, name, libseccomp.Arg(0, libseccomp.EQ, family))
    refuse = libseccomp.ERRNO(errno.EAFNOSUPPORT)
    last = max(ALLOWED_SOCKET_FAMILIES)
    rules.add_rule(refuse, name, libseccomp.Arg(0, libseccomp.GT, last))
    for family in set(range(last)) - set(ALLOWED_SOCKET_FAMILIES):
        rules.add_rule(refuse, name, libseccomp.Arg(0, libseccomp.EQ, family))


def _export(rules: libseccomp.SyscallFilter) -> int:
    with open(os.memfd_create("filter"), "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return sealed_memory(file.read())
