"""User ids of boxes, which no two workers on one kernel may share, in whatever containers they are.

Containers share no folder in which workers could lock something. What they share, if they are in the same
user namespace, is the kernel's account of what each user has: it counts a user's POSIX message queues in all
IPC namespaces together, under one lock. So a worker makes a queue as each of its users, under a limit
(RLIMIT_MSGQUEUE) that allows a user one queue and not two. If another worker has a queue of that user
already, the kernel refuses the second, and the worker tries the next range of ids. The queues are in an IPC
namespace of their own, which the worker holds open: they are gone when the worker is dead, however it died.
Programs in boxes can make no queues.
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
from processors.sandbox.model import SandboxError
from processors.sandbox.settings import PLACES, SandboxSettings

PROGRAM = Path(__file__).with_name("claim_user_ids.py")
CLAIM_S = 60.0
"""A claim takes about 30 ms."""
MAX_NAMESPACES = 253
"""So many descriptors fit into one message (SCM_MAX_FD)."""


@dataclass(frozen=True, slots=True)
class UserIds:
    """A range of user ids that is this worker's alone until `release`, or the end of the process."""

    uids: range
    descriptors: Sequence[int]

    @classmethod
    def claim(cls, settings: SandboxSettings, place: int) -> "UserIds":
        """Claim a range: the one of this worker's place if it is free, else the next free one.

        Raises SandboxError.
        """
        check_accounts(settings)
        numbers = (settings.first_uid, settings.boxes, PLACES, place)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                _run([str(number) for number in numbers], theirs)
            answer, descriptors, _, _ = socket.recv_fds(
                ours, 16, MAX_NAMESPACES, flags=socket.MSG_CMSG_CLOEXEC
            )
        first = settings.first_uid + int(answer) * settings.boxes
        return cls(range(first, first + settings.boxes), descriptors)

    def release(self) -> None:
        """Let other workers have the range."""
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
    """Return all user ids that workers with these settings may give to boxes."""
    return range(settings.first_uid, settings.first_uid + PLACES * settings.boxes)


def check_accounts(settings: SandboxSettings) -> None:
    """Raise SandboxError if an account of this host has an id that a box could get."""
    ids = ids_of_all_places(settings)
    if taken := [account.pw_name for account in pwd.getpwall() if account.pw_uid in ids]:
        raise SandboxError(
            f"{', '.join(taken)} have user ids from {ids[0]} to {ids[-1]}, which are for boxes: "
            "set another ENVICUTOR_SANDBOX_FIRST_UID"
        )
