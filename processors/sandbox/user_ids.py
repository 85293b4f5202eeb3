"""User ids of boxes, which no two workers on one kernel may share, even in different containers.

Containers share no folder in which workers could lock a file. In the same user namespace they share the
kernel's accounting of users: it counts a user's POSIX message queues in all IPC namespaces together, under
one lock. A worker makes one queue as each of its users. A limit (RLIMIT_MSGQUEUE) allows a user one such
queue and not two. If another worker already has a queue of that user, the kernel refuses the second. The
worker then tries the next range of ids. The queues are in an IPC namespace of their own, which the worker
holds open. The kernel removes them when the worker ends, also if it crashes. Programs in boxes cannot make
queues.
"""

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.claim_user_ids import NONE_FREE
from processors.sandbox.descriptors import receive
from processors.sandbox.model import SandboxError
from processors.sandbox.settings import PLACES, SandboxSettings

PROGRAM = Path(__file__).with_name("claim_user_ids.py")
CLAIM_S = 60.0
"""Timeout of a claim, which takes about 30 ms."""
MAX_NAMESPACES = 253
"""Descriptors that fit into one message (SCM_MAX_FD of Linux)."""


@dataclass(frozen=True, slots=True)
class UserIds:
    """Range of user ids that belongs to this worker alone until `release`, or the end of the process."""

    uids: range
    descriptors: Sequence[int]

    @classmethod
    def claim(cls, settings: SandboxSettings, place: int) -> "UserIds":
        """Claim the range of this worker's place if it is free, else the next free one.

        Raises:
            SandboxError: no range is free, an account has one of the ids, or the claim failed.
        """
        check_accounts(settings)
        numbers = (settings.first_uid, settings.boxes, PLACES, place)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                _run([str(number) for number in numbers], theirs)
            answer, descriptors = receive(ours, MAX_NAMESPACES)
        first = settings.first_uid + int(answer) * settings.boxes
        return cls(range(first, first + settings.boxes), descriptors)

    def release(self) -> None:
        """Release the range for other workers."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def _run(arguments: Sequence[str], answer: socket.socket) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(PROGRAM), *arguments],
            stdin=answer.fileno(),
            capture_output=True,
            text=True,
            check=False,
            timeout=CLAIM_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"user ids cannot be claimed: {error}") from error
    if done.returncode == NONE_FREE:
        raise SandboxError(
            f"all {PLACES} ranges of user ids from {arguments[0]} on are in use by other workers on this "
            "kernel: set another ENVICUTOR_SANDBOX_FIRST_UID"
        )
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise SandboxError(f"user ids cannot be claimed: {reason}")


def ids_of_all_places(settings: SandboxSettings) -> range:
    """Return the user ids that all workers of a host together may give to boxes."""
    return range(settings.first_uid, settings.first_uid + PLACES * settings.boxes)


def check_mapped(settings: SandboxSettings) -> None:
    """Check that all ids that a box could get exist in this user namespace.

    Raises:
        SandboxError: one does not; the message names all that boxes need.
    """
    ids = ids_of_all_places(settings)
    for name in ("uid_map", "gid_map"):
        id_map = Path("/proc/self", name).read_text()
        if not is_mapped(ids, id_map):
            raise SandboxError(
                f"not all ids from {ids[0]} to {ids[-1]}, which are for boxes, exist in this user namespace, "
                f"whose {name} is {' '.join(id_map.split())!r}: set ENVICUTOR_SANDBOX_FIRST_UID to the first "
                f"of {len(ids)} that do, or fewer ENVICUTOR_SANDBOX_BOXES"
            )


def check_accounts(settings: SandboxSettings) -> None:
    """Check that no account of this host has an id that a box could get.

    Raises:
        SandboxError: an account has such an id.
    """
    ids = ids_of_all_places(settings)
    if taken := [account.pw_name for account in pwd.getpwall() if account.pw_uid in ids]:
        raise SandboxError(
            f"{', '.join(taken)} have user ids from {ids[0]} to {ids[-1]}, which are for boxes: "
            "set another ENVICUTOR_SANDBOX_FIRST_UID"
        )


def is_mapped(ids: range, id_map: str) -> bool:
    """Return whether a user namespace has all these ids, given the text of its uid_map or gid_map."""
    rows = [tuple(map(int, line.split())) for line in id_map.splitlines()]
    mapped = (range(max(first, ids.start), min(first + count, ids.stop)) for first, _, count in rows)
    return sum(map(len, mapped)) == len(ids)
