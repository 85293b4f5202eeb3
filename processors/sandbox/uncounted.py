"""Kernel memory that programs can fill and no control group counts, and that no filter can refuse.

* Record locks (`fcntl`): each is a `struct file_lock`, and a file can have any number of them. SQLite needs
  them.
* TCP connections that wait to be accepted. The kernel makes them while it handles the client's packets,
  counts them when they are accepted, and keeps them if the client closes its own end.

What /proc shows of both is looked at now and then. Sizes were measured on Linux 6.18.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

LOCK_BYTES = 192
CONNECTION_BYTES = 4400
LOCKS = 1_000
"""What the processes of a stage may hold: not more, since the kernel lists them in quadratic time."""
CONNECTIONS = 4_000
"""What may wait in a stage's network namespace: 17 MiB."""
LOCK_LINES = 16_000
"""How much of /proc/locks, which has those of all processes, newest first, is read at most."""
FRESH_S = 0.2
LISTENING = "0A"


class Uncounted:
    """Looks for this memory on behalf of all stages of a worker: the table of locks is read once for all."""

    def __init__(self) -> None:
        self._holders: Counter[int] = Counter()
        self._read_at_s = float("-inf")

    def too_much_bytes(self, pids: Sequence[int], now_s: float) -> int:
        """Return about how much these processes made the kernel keep, 0 unless it is too much."""
        waiting = waiting_of(pids)
        if waiting > CONNECTIONS:
            return waiting * CONNECTION_BYTES
        if now_s > self._read_at_s + FRESH_S:
            self._read_at_s = now_s
            with suppress(OSError), open("/proc/locks") as lines:
                self._holders = holders_of_locks(islice(lines, LOCK_LINES))
        held = sum(self._holders[pid] for pid in pids)
        return held * LOCK_BYTES if held > LOCKS else 0


def waiting_of(pids: Iterable[int]) -> int:
    """Return how many connections wait in the network namespace of these processes."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with suppress(OSError):  # else it has ended, as a process's first thread may before the others
                return _waiting_in(task / "net")
    return 0


def _waiting_in(net: Path) -> int:
    sockets = sockets_in_use((net / "sockstat").read_text())
    with suppress(FileNotFoundError):  # a kernel without IPv6
        sockets += sockets_in_use((net / "sockstat6").read_text())
    if sockets <= CONNECTIONS:  # as nearly always: reading the tables takes milliseconds
        return 0
    waiting = 0
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError), open(net / table) as lines:
            next(lines, None)  # titles
            waiting += count_waiting(lines)
    return waiting


def sockets_in_use(sockstat: str) -> int:
    """Return the TCP sockets of a network namespace, by the text of its sockstat or sockstat6."""
    lines = (line.split() for line in sockstat.splitlines())
    return sum(int(words[2]) for words in lines if words[:2] in (["TCP:", "inuse"], ["TCP6:", "inuse"]))


def count_waiting(table: Iterable[str]) -> int:
    """Return how many connections wait, by the lines of /proc/net/tcp, of which listeners come first."""
    waiting = 0
    for line in table:
        _, _, _, state, queues, *_ = line.split()
        if state != LISTENING:
            break
        waiting += int(queues.partition(":")[2], 16)
    return waiting


def holders_of_locks(locks: Iterable[str]) -> Counter[int]:
    """Return how many record locks each process holds, by the lines of /proc/locks."""
    words = (line.split() for line in locks)
    return Counter(int(pid) for _, kind, _, _, pid, *_ in words if kind == "POSIX")
