"""Detection of kernel memory that no control group counts and no system call filter can refuse.

* Record locks (`fcntl`): each is a `struct file_lock`, and a file can have any number of them. SQLite needs
  them. The kernel releases them with their process. An open file has one `flock` or lease at most, and the
  control group counts more for the file.
* TCP connections that wait to be accepted, with the data sent into them. The kernel makes them while it
  handles the client's packets, counts them when they are accepted, and keeps them if the client closes its
  own end.
* TCP connections in TIME_WAIT, which belong to no process for a minute.
* Data that UDP sockets hold back (MSG_MORE), and their queues of errors, which a control message of any
  `sendmsg` can fill (SO_TIMESTAMPING).

/proc shows all of them; the worker reads it while a stage runs. Sizes were measured on Linux 6.18.

Pid 1 of a sandbox opens /proc/locks before it covers it. This table has the locks that living processes of
the sandbox took, so that no other stage can hide record locks or add any.
"""

import os
import resource
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from glob import glob
from itertools import islice
from pathlib import Path

from processors.sandbox.descriptors import receive
from topics.request.limits import MiB

LOCK_BYTES = 192
"""Memory of one lock."""
CONNECTION_BYTES = 4400
"""Memory of one TCP connection that waits to be accepted."""
TIME_WAIT_BYTES = 256
"""Memory of one TCP connection in TIME_WAIT."""
LOCKS = 1_000
"""Record locks that the processes of a stage may hold."""
SOCKETS_BYTES = 16 * MiB
"""Uncounted memory that the sockets of a stage may hold."""
RECEIVED_BYTES = 32 * MiB
"""Data that UDP sockets may have received and not read. The control group counts datagrams, but not
errors."""
FEW_SOCKETS = 16
"""Sockets up to which the tables are not read, because so few cannot hold much."""
PAGE_BYTES = resource.getpagesize()
ROWS = 20_000
"""Rows of a table of sockets that are read at most, to bound the time of a check."""
LOCK_LINES = 10_000
"""Lines of a table of locks that are read at most, because the kernel lists a table in quadratic time. A
table of so many is too long. Three processes with as many open files as a request permits have more."""
LISTENING = "0A"
"""State of a listening socket (TCP_LISTEN) in /proc/net/tcp."""


class LockReader:
    """Thread that reads tables of locks, for all stages of a worker one after the other.

    The kernel passes over the locks of the whole host, and waits for other processors (`file_rwsem`), with
    each part of a table that it lists. So the thread pauses between two tables: it takes a fifth of a
    processor at most.
    """

    def __init__(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: the kernel refuses a thread.
        """
        self._thread = ThreadPoolExecutor(1, "locks")
        self._thread.submit(int).result()
        self._pause_s = 0.0

    def read(self, table: int) -> Future[int]:
        """Return the number of locks in an open /proc/locks, as `count_locks` does, once it is read."""
        return self._thread.submit(self._read, table)

    def _read(self, table: int) -> int:
        time.sleep(self._pause_s)
        before_s = time.thread_time()
        os.lseek(table, 0, os.SEEK_SET)
        with open(table, closefd=False) as lines:
            held = count_locks(lines)
        self._pause_s = 4 * (time.thread_time() - before_s)
        return held

    def close(self) -> None:
        """End the thread; all stages have ended."""
        self._thread.shutdown()


class Uncounted:
    """Meter of the uncounted memory of a stage."""

    def __init__(self, channel: socket.socket, reader: LockReader) -> None:
        """Meter the sandbox whose pid 1 sends its table of locks over `channel`."""
        self._channel, self._reader = channel, reader
        self._table: int | None = None
        self._held = 0
        self._reading: Future[int] | None = None

    def too_much_bytes(self, pids: Sequence[int], on_locks: Callable[[], None]) -> int:
        """Return roughly how many uncounted bytes the stage holds, or 0 if that is within the limits.

        Locks are read meanwhile, and count in the next call. If they are too many, `on_locks` is called in
        the thread that reads them.

        Raises:
            OSError: pid 1 has sent no table of locks.
        """
        kept_bytes = kept_by_sockets(pids)
        if kept_bytes > SOCKETS_BYTES:
            return kept_bytes
        if self._reading is None or self._reading.done():
            self._read_locks(on_locks)
        return self._held * LOCK_BYTES if self._held > LOCKS else 0

    def _read_locks(self, on_locks: Callable[[], None]) -> None:
        if self._table is None:
            _, [self._table] = receive(self._channel, 1, socket.MSG_DONTWAIT)
        if self._reading is not None:
            self._held = self._reading.result()
        self._reading = self._reader.read(self._table)
        self._reading.add_done_callback(partial(_notify, on_locks))

    def close(self) -> None:
        """Close the table of locks, which keeps the pid namespace of the sandbox."""
        if self._table is None:
            return
        table, self._table = self._table, None
        if self._reading is None:
            os.close(table)
        else:  # it may be read now
            self._reading.cancel()
            self._reading.add_done_callback(lambda _: os.close(table))


def _notify(on_locks: Callable[[], None], reading: Future[int]) -> None:
    if not reading.cancelled() and not reading.exception() and reading.result() > LOCKS:
        on_locks()


def kept_by_sockets(pids: Iterable[int]) -> int:
    """Return the uncounted bytes of the sockets in the network namespace of these processes."""
    for pid in pids:
        # glob, unlike Path.glob, finds nothing if the process ends meanwhile
        for net in glob(f"/proc/{pid}/task/*/net"):  # noqa: PTH207
            with suppress(OSError):  # this thread has ended, as a first thread may before the others
                return _kept_in(Path(net))
    return 0


def _kept_in(net: Path) -> int:
    tcp, udp, in_time_wait, tcp_bytes = sockets_in_use((net / "sockstat").read_text())
    with suppress(FileNotFoundError):  # a kernel without IPv6
        tcp_6, udp_6, *_ = sockets_in_use((net / "sockstat6").read_text())
        tcp, udp = tcp + tcp_6, udp + udp_6
    kept_bytes = in_time_wait * TIME_WAIT_BYTES
    if tcp > FEW_SOCKETS:  # rare; reading the tables takes milliseconds
        kept = kept_by_tcp if tcp_bytes > SOCKETS_BYTES else kept_by_listeners
        kept_bytes += _kept_by(kept, net, "tcp", "tcp6")
    if udp > FEW_SOCKETS:
        kept_bytes += _kept_by(kept_by_udp, net, "udp", "udp6")
    return kept_bytes


def _kept_by(kept: Callable[[Iterable[str]], int], net: Path, *tables: str) -> int:
    kept_bytes = 0
    for table in tables:
        with suppress(FileNotFoundError), open(net / table) as lines:
            kept_bytes += kept(islice(lines, 1, ROWS))  # without the header
    return kept_bytes


def sockets_in_use(sockstat: str) -> tuple[int, int, int, int]:
    """Return the numbers of TCP and UDP sockets in the text of a network namespace's sockstat or sockstat6.

    The third value is the number of TCP connections in TIME_WAIT, of both versions of IP, the fourth the
    memory of TCP on the whole host, in bytes. sockstat6 has neither and gives 0.
    """
    words = {kind: rest.split() for kind, _, rest in (line.partition(":") for line in sockstat.splitlines())}
    tcp, udp = words.get("TCP", words.get("TCP6", [])), words.get("UDP", words.get("UDP6", []))
    tcp_bytes = _value(tcp, "mem") * PAGE_BYTES
    return _value(tcp, "inuse"), _value(udp, "inuse"), _value(tcp, "tw"), tcp_bytes


def _value(words: Sequence[str], name: str) -> int:
    return int(words[words.index(name) + 1]) if name in words else 0


def kept_by_listeners(table: Iterable[str]) -> int:
    """Return the bytes of connections in the queues of listeners, from the first rows of /proc/net/tcp."""
    kept_bytes = 0
    for line in table:
        _, _, _, state, queues, *_ = line.split()
        if state != LISTENING:
            break
        kept_bytes += int(queues.partition(":")[2], 16) * CONNECTION_BYTES
    return kept_bytes


def kept_by_tcp(table: Iterable[str]) -> int:
    """Return the bytes of connections that no process has accepted, from the rows of /proc/net/tcp.

    The receive queue of a listener is the number of waiting connections.
    """
    kept_bytes = 0
    for line in table:
        _, _, _, state, queues, _, _, _, _, inode, *_ = line.split()
        sent, received = (int(size, 16) for size in queues.split(":"))
        if state == LISTENING:
            kept_bytes += received * CONNECTION_BYTES
        elif inode == "0":
            kept_bytes += sent + received
    return kept_bytes


def kept_by_udp(table: Iterable[str]) -> int:
    """Return the bytes that sockets hold back, and received beyond `RECEIVED_BYTES`, from /proc/net/udp."""
    queues = [line.split()[4].split(":") for line in table]
    held_back, received = (sum(int(sizes[n], 16) for sizes in queues) for n in (0, 1))
    return held_back + max(0, received - RECEIVED_BYTES)


def count_locks(lines: Iterable[str]) -> int:
    """Return the number of record locks that are held, from the lines of /proc/locks.

    If there are too many, only some of them are counted: `LOCKS + 1`. A table of `LOCK_LINES` could hide any
    number, and counts as too many.
    """
    held = 0
    for number, line in enumerate(lines, start=1):
        held += line.split()[1] == "POSIX"
        if held > LOCKS or number == LOCK_LINES:
            return LOCKS + 1
    return held
