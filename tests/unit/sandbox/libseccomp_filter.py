"""The rules of the system call filter once more, as libseccomp compiles them, to compare with.

libseccomp's rules have no order: an exception is cut out of a rule by masks.
"""

import errno
from collections.abc import Iterator, Set
from tempfile import TemporaryFile

import pyseccomp as libseccomp

from processors.sandbox.seccomp import (
    ABSENT,
    AF_INET,
    AF_INET6,
    AF_UNIX,
    CLONE_FILES,
    CLONE_NEW,
    CLONE_THREAD,
    DENIED,
    INET_PROTOCOLS,
    INET_TYPES,
    LAST_SYSCALL,
    OFD_LOCKS,
    PR_SET_SECCOMP,
    PRETENDED,
    UNSUPPORTED,
)
from processors.sandbox.socket_options import PRETENDED as PRETENDED_OPTIONS
from processors.sandbox.socket_options import SETTABLE

ALL_TYPES = set(range(16))
"""Types of sockets, without their flags."""
INT_BITS, INT = 32, 0xFFFFFFFF


def make_program() -> bytes:
    """Return libseccomp's program of the rules."""
    rules = libseccomp.SyscallFilter(libseccomp.ERRNO(errno.ENOSYS))
    rules.set_attr(libseccomp.Attr.ACT_BADARCH, libseccomp.KILL_PROCESS)
    rules.set_attr(libseccomp.Attr.CTL_OPTIMIZE, 2)  # a tree instead of a list
    special = {
        "clone": _allow_clone,
        "fcntl": _refuse_locks_of_open_files,
        "prctl": _refuse_filters,
        "prlimit64": _allow_own_limits,
        "setsockopt": _allow_options,
        "socket": _allow_socket,
        "socketpair": _allow_pair,
    }
    for name in _known_syscalls():
        if name in special:
            special[name](rules, name)
        elif name in ABSENT:
            continue  # a call without a rule returns ENOSYS
        elif name in DENIED:
            rules.add_rule(libseccomp.ERRNO(errno.EPERM), name)
        elif name in PRETENDED:
            rules.add_rule(libseccomp.ERRNO(0), name)
        elif name in UNSUPPORTED:
            rules.add_rule(libseccomp.ERRNO(errno.EOPNOTSUPP), name)
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
    """Refuse new namespaces, and processes that share descriptors but are not threads.

    The locks of such a process outlive it, so that their owner would be unknown, see uncounted.py.
    """
    shared_by_threads = CLONE_FILES | CLONE_THREAD
    for mask, flags in ((CLONE_FILES, 0), (shared_by_threads, shared_by_threads)):
        allowed = libseccomp.Arg(0, libseccomp.MASKED_EQ, CLONE_NEW | mask, flags)
        rules.add_rule(libseccomp.ALLOW, name, allowed)
    refused = [(bit, bit) for bit in (1 << shift for shift in range(32)) if bit & CLONE_NEW]
    for mask, flags in (*refused, (shared_by_threads, CLONE_FILES)):
        rules.add_rule(
            libseccomp.ERRNO(errno.EPERM), name, libseccomp.Arg(0, libseccomp.MASKED_EQ, mask, flags)
        )


def _allow_own_limits(rules: libseccomp.SyscallFilter, name: str) -> None:
    """Refuse to set limits by process id: a limit on the CPU time of pid 1, the same user, would end it."""
    rules.add_rule(libseccomp.ALLOW, name, libseccomp.Arg(0, libseccomp.EQ, 0))
    by_id = libseccomp.Arg(0, libseccomp.NE, 0)
    rules.add_rule(libseccomp.ALLOW, name, by_id, libseccomp.Arg(2, libseccomp.EQ, 0))  # only reads
    rules.add_rule(libseccomp.ERRNO(errno.EPERM), name, by_id, libseccomp.Arg(2, libseccomp.NE, 0))


def _allow_socket(rules: libseccomp.SyscallFilter, name: str) -> None:
    families = {AF_UNIX, AF_INET, AF_INET6}
    _refuse_but(rules, name, errno.EAFNOSUPPORT, 0, families)
    rules.add_rule(libseccomp.ALLOW, name, libseccomp.Arg(0, libseccomp.EQ, AF_UNIX))
    for family in families - {AF_UNIX}:
        of_family = libseccomp.Arg(0, libseccomp.EQ, family)
        for mask, kind in all_but(INET_TYPES, bits=4):  # higher bits are flags
            other = libseccomp.Arg(1, libseccomp.MASKED_EQ, mask, kind)
            rules.add_rule(libseccomp.ERRNO(errno.EPROTONOSUPPORT), name, of_family, other)
        for mask, kind in all_but(ALL_TYPES - INET_TYPES, bits=4):
            of_type = libseccomp.Arg(1, libseccomp.MASKED_EQ, mask, kind)
            _refuse_but(rules, name, errno.EPROTONOSUPPORT, 2, INET_PROTOCOLS, of_family, of_type)
            for protocol in INET_PROTOCOLS:
                equal = libseccomp.Arg(2, libseccomp.EQ, protocol)
                rules.add_rule(libseccomp.ALLOW, name, of_family, of_type, equal)


def _allow_pair(rules: libseccomp.SyscallFilter, name: str) -> None:
    _refuse_but(rules, name, errno.EAFNOSUPPORT, 0, {AF_UNIX})
    rules.add_rule(libseccomp.ALLOW, name, libseccomp.Arg(0, libseccomp.EQ, AF_UNIX))


def _refuse_filters(rules: libseccomp.SyscallFilter, name: str) -> None:
    """Refuse PR_SET_SECCOMP: compiled filters are in memory with a single limit for the whole host."""
    _refuse_if(rules, name, errno.EPERM, 0, {PR_SET_SECCOMP})


def _refuse_locks_of_open_files(rules: libseccomp.SyscallFilter, name: str) -> None:
    """Return EINVAL, as kernels before 3.15 do: the owner of these locks is unknown, see uncounted.py."""
    _refuse_if(rules, name, errno.EINVAL, 1, OFD_LOCKS)


def _allow_options(rules: libseccomp.SyscallFilter, name: str) -> None:
    """Return ENOPROTOOPT for other options, as a kernel that does not know them does."""
    _refuse_but(rules, name, errno.ENOPROTOOPT, 1, SETTABLE.keys())
    for level, options in SETTABLE.items():
        of_level = libseccomp.Arg(1, libseccomp.EQ, level)
        pretended = PRETENDED_OPTIONS.get(level, frozenset())
        _refuse_but(rules, name, errno.ENOPROTOOPT, 2, options | pretended, of_level)
        for mask, option in covering(options):
            allowed = libseccomp.Arg(2, libseccomp.MASKED_EQ, mask, option)
            rules.add_rule(libseccomp.ALLOW, name, of_level, allowed)
        for option in pretended:
            rules.add_rule(libseccomp.ERRNO(0), name, of_level, libseccomp.Arg(2, libseccomp.EQ, option))


def _refuse_if(
    rules: libseccomp.SyscallFilter, name: str, number: int, argument: int, values: Set[int]
) -> None:
    """Return an error if an argument has one of these values, otherwise allow the call.

    The rules compare the lower 32 bits, as the kernel does for an argument of the type `int`.
    """
    for mask, value in all_but(values, INT_BITS):
        rules.add_rule(libseccomp.ALLOW, name, libseccomp.Arg(argument, libseccomp.MASKED_EQ, mask, value))
    for value in values:
        refused = libseccomp.Arg(argument, libseccomp.MASKED_EQ, INT, value)
        rules.add_rule(libseccomp.ERRNO(number), name, refused)


def _refuse_but(
    rules: libseccomp.SyscallFilter,
    name: str,
    number: int,
    argument: int,
    values: Set[int],
    *given: libseccomp.Arg,
) -> None:
    """Return an error if an argument has none of these values, and the others are as given."""
    refuse, bits = libseccomp.ERRNO(number), max(values).bit_length()
    rules.add_rule(refuse, name, *given, libseccomp.Arg(argument, libseccomp.GE, 1 << bits))
    for mask, value in all_but(values, bits):
        rules.add_rule(refuse, name, *given, libseccomp.Arg(argument, libseccomp.MASKED_EQ, mask, value))


def all_but(values: Set[int], bits: int, mask: int = 0, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield pairs of a mask and a masked value that match each number of `bits` bits except `values`.

    Rules have no order, so an exception must be cut out of a rule.
    """
    if not any(value & mask == start for value in values):
        yield mask, start
    elif bits:
        bit = 1 << bits - 1
        yield from all_but(values, bits - 1, mask | bit, start)
        yield from all_but(values, bits - 1, mask | bit, start | bit)


def covering(values: Set[int]) -> Iterator[tuple[int, int]]:
    """Yield pairs of a mask and a masked value that match just these 64-bit values."""
    bits = max(values).bit_length()
    yield from all_but(set(range(1 << bits)) - values, bits, mask=(1 << 64) - (1 << bits))


def _export(rules: libseccomp.SyscallFilter) -> bytes:
    with TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
