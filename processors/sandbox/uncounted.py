"""Detection of kernel memory that no control group counts and no system call filter can refuse.

* Locks (`fcntl`, `flock`, leases): each is a `struct file_lock`, and a file can have any number of record
  locks. SQLite needs them.
* TCP connections that wait to be accepted, with the data sent into them. The kernel makes them while it
  handles the client's packets, counts them when they are accepted, and keeps them if the client closes its
  own end.
* TCP connections in TIME_WAIT, which belong to no process for a minute.
* Data that UDP sockets hold back (MSG_MORE), and their queues of errors, which a control message of any
  `sendmsg` can fill (SO_TIMESTAMPING).

/proc shows all of them; the worker reads it while a stage runs. Sizes were measured on Linux 6.18.

The host has one table of locks. It names the process that took a lock, and the kernel releases a record lock
with that process. A `flock` or a lease belongs to an open file instead. A child keeps it open, so the table
may name a process that has ended, or another process that was given the same id since. The kernel lists the
table in quadratic time, processor by processor. If it is long, its first lines may hide the rest; each stage
is then asked for the locks of its own open files.
"""

import ctypes
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from glob import glob
from itertools import islice
from pathlib import Path

import pyseccomp as libseccomp

from processors.sandbox.descriptors import closing
from topics.request.limits import MiB

LOCK_BYTES = 192
"""Memory of one lock."""
CONNECTION_BYTES = 4400
"""Memory of one TCP connection that waits to be accepted."""
TIME_WAIT_BYTES = 256
"""Memory of one TCP connection in TIME_WAIT."""
LOCKS = 1_000
"""Locks that the processes of a stage may hold. As many locks of open files of the whole host belong to no
stage in particular."""
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
LOCK_LINES = 4_000
"""Lines of /proc/locks that are read at most, in 3 ms. 40,000 lines would take a second."""
OPEN_FILES = 20_000
"""Open files of a stage that are searched for locks at most, in 0.2 s. A stage that has more while the table
of locks is long could hide any number of locks, and counts as if it did."""
DESCRIPTOR_BYTES = 131072
"""Bytes that are read of what /proc shows of an open file: those of more than `LOCKS` locks."""
MAPPINGS = 100_000
"""Mappings of a stage that are searched for locked files at most."""
FRESH_S = 0.09
"""Age up to which the content of /proc/locks is used again: less than the time between two checks of a
stage."""
LISTENING = "0A"
"""State of a listening socket (TCP_LISTEN) in /proc/net/tcp."""

_libc = ctypes.CDLL(None, use_errno=True)
_SETRESUID, _SETFSUID = (
    int(libseccomp.resolve_syscall(libseccomp.system_arch(), name)) for name in ("setresuid", "setfsuid")
)


class Uncounted:
    """Meter of uncounted memory for all stages of a worker, which share one read of the table of locks."""

    def __init__(self) -> None:
        self._records: Counter[int] = Counter()
        self._files: Counter[str] = Counter()
        self._is_whole = True
        self._read_at_s = float("-inf")
        self.elsewhere_cpu_s = 0.0
        """CPU time of other threads for stages, less that of this thread for the table of locks, for which
        no single stage is responsible."""

    def too_much_bytes(self, pids: Sequence[int], now_s: float) -> int:
        """Return roughly how many uncounted bytes these processes hold, or 0 if that is within the limits."""
        kept_bytes = kept_by_sockets(pids)
        if kept_bytes > SOCKETS_BYTES:
            return kept_bytes
        if now_s > self._read_at_s + FRESH_S:
            self._read_at_s = now_s
            self._read_table()
        held = sum(self._records[pid] for pid in pids)
        if held <= LOCKS and not (self._is_whole and self._files.total() <= LOCKS):
            held = self._search(pids)
        return held * LOCK_BYTES if held > LOCKS else 0

    def _search(self, pids: Sequence[int]) -> int:
        """Return the number of locks of these processes, searched for in a thread of their user."""
        found: list[tuple[int, float]] = []

        def search() -> None:
            act_for(pids[0])
            held = locks_of(pids, self._files, is_whole=self._is_whole)
            found.append((held, time.thread_time()))

        thread = threading.Thread(target=search)
        thread.start()
        thread.join()
        held, spent_s = found[0] if found else (0, 0.0)
        self.elsewhere_cpu_s += spent_s
        return held

    def _read_table(self) -> None:
        before_s = time.thread_time()
        with suppress(OSError), open("/proc/locks") as table:
            lines = list(islice(table, LOCK_LINES))
            self._records, self._files = holders_of_locks(lines)
            self._is_whole = len(lines) < LOCK_LINES
        self.elsewhere_cpu_s -= time.thread_time() - before_s


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


def holders_of_locks(locks: Iterable[str]) -> tuple[Counter[int], Counter[str]]:
    """Return the numbers of record locks by process, and of locks of open files by file.

    `locks` are lines of /proc/locks. A file is named by its device and its inode.
    """
    records: Counter[int] = Counter()
    files: Counter[str] = Counter()
    for _, kind, _, _, pid, file, *_ in (line.split() for line in locks):
        if kind == "POSIX":
            records[int(pid)] += 1
        elif kind in ("FLOCK", "LEASE"):
            files[file] += 1
    return records, files


def act_for(pid: int) -> None:
    """Let this thread, and no other, look into the processes of the user who runs a program.

    The worker need not have SYS_PTRACE. The user owns the program's user namespace and has all capabilities
    over it. Files are still opened as root. The calls are those of the kernel: libc's change all threads.
    """
    with suppress(OSError):  # the process has ended
        status = Path(f"/proc/{pid}/status").read_text()
        uid = int(status.partition("\nUid:")[2].split()[0])
        _libc.syscall(_SETRESUID, ctypes.c_long(-1), ctypes.c_long(uid), ctypes.c_long(-1))
        _libc.syscall(_SETFSUID, ctypes.c_long(0))


def locks_of(pids: Iterable[int], files: Counter[str], *, is_whole: bool) -> int:
    """Return the number of locks that these processes hold, whichever process took them.

    The search ends soon after `LOCKS` are found.

    Args:
        pids: the processes of a stage.
        files: the locks of open files in the table of locks, by file. A file that several processes share
            has one lock, so no more are counted than the table has.
        is_whole: whether the table could be read to its end. If not, `OPEN_FILES` is a limit.
    """
    held, records, seen, mappings = 0, 0, 0, 0
    holding: Counter[str] = Counter()
    for pid in pids:
        own, shared, opened = locks_of_open_files(descriptors_of(pid))
        mapped, lines = files_mapped(pid, only_on(files, devices_of(pid)), MAPPINGS - mappings)
        records, seen, mappings = records + own, seen + opened, mappings + lines
        holding.update(shared)
        holding.update(mapped)
        held = records + sum(min(number, files[file]) for file, number in holding.items())
        if held > LOCKS:
            return held
        if seen > OPEN_FILES:
            return 0 if is_whole else seen
    return held


def descriptors_of(pid: int) -> Iterator[str]:
    """Yield the text of /proc/…/fdinfo of each open file of a process, `DESCRIPTOR_BYTES` at most."""
    with suppress(OSError), os.scandir(f"/proc/{pid}/fdinfo") as entries:  # the process may end meanwhile
        for entry in entries:
            with suppress(OSError), closing(os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
                yield os.read(descriptor, DESCRIPTOR_BYTES).decode(errors="replace")


def locks_of_open_files(descriptors: Iterable[str]) -> tuple[int, Counter[str], int]:
    """Return what the descriptors of a process hold, from their texts in /proc/…/fdinfo.

    The first value is the number of record locks. Each descriptor of a file shows those of the process again.
    The second is the number of other locks by file, the third the number of descriptors.
    """
    records: set[str] = set()
    files: Counter[str] = Counter()
    opened = 0
    for text in descriptors:
        opened += 1
        if "\nlock:" not in text:
            continue
        for line in text.split("\n")[:-1]:  # without the rest of a line that was cut
            if not line.startswith("lock:"):
                continue
            _, _, kind, _, _, _, file, *part = line.split()
            if kind == "POSIX":
                records.add(f"{file} {part}")
            elif kind in ("FLOCK", "LEASE"):
                files[file] += 1
    return len(records), files, opened


def devices_of(pid: int) -> set[str]:
    """Return the devices, as in the table of locks, of files that only the stage of a process can open.

    Other stages can lock files of the environment, which this one maps as well.
    """
    devices = set()
    for folder in ("box", "tmp", "dev/shm"):
        with suppress(OSError):
            devices.add(Path(f"/proc/{pid}/root/{folder}").stat().st_dev)
    with closing(os.memfd_create("")) as descriptor:
        devices.add(os.fstat(descriptor).st_dev)
    return {f"{os.major(device):02x}:{os.minor(device):02x}" for device in devices}


def only_on(files: Counter[str], devices: Collection[str]) -> Counter[str]:
    """Return the files on these devices."""
    return Counter({file: n for file, n in files.items() if file.rpartition(":")[0] in devices})


def files_mapped(pid: int, files: Counter[str], most: int) -> tuple[Counter[str], int]:
    """Return how often a process maps each of `files`, and the number of mappings that were examined.

    A mapping keeps a file open after its descriptor was closed. At most `most` mappings are examined.
    """
    mapped: Counter[str] = Counter()
    examined = 0
    with suppress(OSError), open(f"/proc/{pid}/maps", errors="replace") as maps:
        for line in islice(maps, max(0, most)):
            examined += 1
            _, _, _, device, inode, *_ = line.split(maxsplit=5)
            if inode != "0" and (file := f"{device}:{inode}") in files:
                mapped[file] += 1
    return mapped, examined
