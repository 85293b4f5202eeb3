"""System call filter (seccomp) of programs. The numbers of calls are libseccomp's."""

import errno
from collections.abc import Callable, Mapping
from contextlib import suppress

import pyseccomp as libseccomp

from processors.sandbox.decision_tree import (
    ARCHITECTURE,
    NUMBER,
    WORD,
    Decision,
    by_argument,
    by_bits,
    by_word,
    compile_decision,
)
from processors.sandbox.descriptors import sealed_memory
from processors.sandbox.socket_options import PRETENDED as PRETENDED_OPTIONS
from processors.sandbox.socket_options import SETTABLE

# Calls that change or inspect the machine, other processes, namespaces, keys or NUMA placement, and calls
# whose record of vulnerabilities outweighs their use in a sandbox. Denied calls return EPERM.
_DENIED = """
acct add_key adjtimex bpf chroot clock_adjtime clock_settime create_module delete_module fanotify_init
fanotify_mark finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module
io_setup io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl
lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages name_to_handle_at nfsservctl
open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise process_mrelease
process_vm_readv process_vm_writev ptrace query_module quotactl quotactl_fd reboot request_key seccomp
set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon sysfs
syslog _sysctl umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old vmsplice
"""
DENIED = frozenset(_DENIED.split())
_ABSENT = """
cachestat clone3 landlock_add_rule landlock_create_ruleset landlock_restrict_self memfd_secret modify_ldt
"""
ABSENT = frozenset(_ABSENT.split())
"""Calls that return ENOSYS, as on a kernel without them; programs have alternatives.

A filter cannot see the flags of clone3, which are in memory; libc then uses clone. The others have no use in
a sandbox: segments of 16-bit code, pages that the kernel itself cannot read, further restrictions, and a
view of the shared page cache.
"""
PRETENDED = frozenset({"fadvise64", "fdatasync", "fsync", "sync", "sync_file_range", "syncfs"})
"""Calls that return 0 and do nothing.

All files that a program can write are in memory. On files of its environment these calls would make the
host's disks write, or drop pages that other programs read.
"""
UNSUPPORTED = frozenset({"fsetxattr", "lsetxattr", "setxattr"})
"""Calls that return EOPNOTSUPP, as on a file system without extended attributes, which tools then leave out.

No control group counts the access control lists that tmpfs keeps, of up to 64 KiB for each file.
"""

CLONE_NEW = 0x7E020000
"""Flags CLONE_NEW* of clone: mount, control group, UTS, IPC, user, pid and network namespaces."""
CLONE_FILES, CLONE_THREAD = 0x400, 0x10000
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
"""Permitted families of sockets; others are rarely used and often attacked."""
INET_TYPES, SOCKET_TYPE = {1, 2, 3}, 0xF
"""Permitted types: stream, datagram and raw, which the kernel refuses. Other types could load the module
DCCP. The second is the mask of the type, above which are flags."""
INET_PROTOCOLS = {0, 1, 6, 17, 58}
"""Permitted protocols: default, ICMP, TCP, UDP and ICMPv6; not MPTCP, UDP-Lite and modules of the host."""
PR_SET_SECCOMP = 22
OFD_LOCKS = {36, 37, 38}
"""F_OFD_GETLK, F_OFD_SETLK and F_OFD_SETLKW of fcntl."""
LAST_SYSCALL = 1023
"""Highest number of a system call on the supported architectures."""
X32 = 0x40000000
"""First number of the calls of x32 programs, which have the architecture x86-64."""
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
"""SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS, and SECCOMP_RET_ERRNO, to which the number is added
(linux/seccomp.h)."""
PRETEND = ERROR
"""Decision that a call does nothing and returns 0."""


def make_filter() -> int:
    """Return a descriptor of the compiled filter; any number of stages may read it.

    Calls that libseccomp does not know, including newer ones, return ENOSYS. Calls with the numbers of
    another architecture (32-bit, x32) end the process with SIGSYS.
    """
    return sealed_memory(compile_decision(decide()))


def decide() -> Decision:
    """Return what the filter does with each call."""
    architecture = libseccomp.system_arch()
    calls = {}
    for number in range(LAST_SYSCALL + 1):
        with suppress(OSError, ValueError):  # no call has this number
            calls[number] = _decide_call(libseccomp.resolve_syscall(architecture, number).decode())
    unknown = _refuse(errno.ENOSYS)
    # A tracer uses the highest number to skip a call.
    above = {X32: KILL, WORD: unknown} if architecture == libseccomp.Arch.X86_64 else {}
    by_number = by_word(NUMBER, calls, unknown, above=above)
    return by_word(ARCHITECTURE, {architecture: by_number}, KILL)


def _decide_call(name: str) -> Decision:
    if name in _BY_ARGUMENTS:
        return _BY_ARGUMENTS[name]()
    if name in ABSENT:
        return _refuse(errno.ENOSYS)
    if name in DENIED:
        return _refuse(errno.EPERM)
    if name in PRETENDED:
        return PRETEND
    return _refuse(errno.EOPNOTSUPP) if name in UNSUPPORTED else ALLOW


def _refuse(number: int) -> Decision:
    """Return the decision that a call does nothing and returns this error."""
    return ERROR | number


def _decide_clone() -> Decision:
    """Refuse new namespaces, and processes that share descriptors but are not threads.

    The record locks of such a process outlive it, so that no table has them, see uncounted.py.
    """
    refused = _refuse(errno.EPERM)
    unless_shared = by_bits(0, {CLONE_FILES: refused}, ALLOW, mask=CLONE_FILES | CLONE_THREAD)
    return by_bits(0, {0: unless_shared}, refused, mask=CLONE_NEW)


def _decide_prlimit() -> Decision:
    """Refuse to set limits by process id: a limit on the CPU time of pid 1, the same user, would end it."""
    if_only_read = by_argument(2, {0: ALLOW}, _refuse(errno.EPERM))
    return by_argument(0, {0: ALLOW}, if_only_read)


def _decide_socket() -> Decision:
    refused = _refuse(errno.EPROTONOSUPPORT)
    by_protocol = by_argument(2, dict.fromkeys(INET_PROTOCOLS, ALLOW), refused)
    by_type = by_bits(1, dict.fromkeys(INET_TYPES, by_protocol), refused, mask=SOCKET_TYPE)
    families = {AF_UNIX: ALLOW, AF_INET: by_type, AF_INET6: by_type}
    return by_argument(0, families, _refuse(errno.EAFNOSUPPORT))


def _decide_socketpair() -> Decision:
    return by_argument(0, {AF_UNIX: ALLOW}, _refuse(errno.EAFNOSUPPORT))


def _decide_prctl() -> Decision:
    """Refuse PR_SET_SECCOMP: compiled filters are in memory with a single limit for the whole host."""
    return by_bits(0, {PR_SET_SECCOMP: _refuse(errno.EPERM)}, ALLOW)


def _decide_fcntl() -> Decision:
    """Return EINVAL, as kernels before 3.15 do: all pid namespaces list these locks, see uncounted.py."""
    return by_bits(1, dict.fromkeys(OFD_LOCKS, _refuse(errno.EINVAL)), ALLOW)


def _decide_setsockopt() -> Decision:
    """Return ENOPROTOOPT for other options, as a kernel that does not know them does."""
    refused = _refuse(errno.ENOPROTOOPT)
    levels = {
        level: by_argument(
            2,
            dict.fromkeys(options, ALLOW) | dict.fromkeys(PRETENDED_OPTIONS.get(level, ()), PRETEND),
            refused,
        )
        for level, options in SETTABLE.items()
    }
    return by_argument(1, levels, refused)


_BY_ARGUMENTS: Mapping[str, Callable[[], Decision]] = {
    "clone": _decide_clone,
    "fcntl": _decide_fcntl,
    "prctl": _decide_prctl,
    "prlimit64": _decide_prlimit,
    "setsockopt": _decide_setsockopt,
    "socket": _decide_socket,
    "socketpair": _decide_socketpair,
}
