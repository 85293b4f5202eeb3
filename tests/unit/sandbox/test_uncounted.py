"""What /proc shows of memory that no control group counts."""

from processors.sandbox.uncounted import (
    CONNECTION_BYTES,
    LOCK_LINES,
    PAGE_BYTES,
    RECEIVED_BYTES,
    count_locks,
    kept_by_listeners,
    kept_by_tcp,
    kept_by_udp,
    sockets_in_use,
)
from processors.sandbox.uncounted import LOCKS as MOST

SOCKSTAT = """sockets: used 290
TCP: inuse 5 orphan 0 tw 3 alloc 12 mem 1
UDP: inuse 2 mem 0
"""
TCP = [
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:0000000B 00:00000000 00000000  1000        0 1 1 0 100 0",
    "   1: 0100007F:1F91 00000000:0000 0A 00000000:00000001 00:00000000 00000000  1000        0 2 1 0 100 0",
    "   2: 0100007F:1F90 0100007F:D431 08 00000000:00000100 00:00000000 00000000  1000        0 0 1 0 20 4",
]
LOCKS = [
    "1: POSIX  ADVISORY  WRITE 71 00:2f:1234 4 4",
    "1: -> POSIX  ADVISORY  WRITE 72 00:2f:1234 4 4",
    "2: FLOCK  ADVISORY  READ 71 00:2f:1234 0 EOF",
    "3: OFDLCK ADVISORY  READ -1 00:2f:1234 0 EOF",
    "4: POSIX  ADVISORY  READ 71 00:2f:1235 0 0",
]


def test_sockets_of_a_network_namespace() -> None:
    assert sockets_in_use(SOCKSTAT) == (5, 2, 3, PAGE_BYTES)
    assert sockets_in_use("TCP6: inuse 7\nUDP6: inuse 0\n") == (7, 0, 0, 0)


def test_connections_that_wait_are_the_queues_of_listeners_and_hold_what_was_sent() -> None:
    assert kept_by_tcp(TCP) == 12 * CONNECTION_BYTES + 0x100
    assert kept_by_tcp([]) == 0
    assert kept_by_listeners(TCP) == 12 * CONNECTION_BYTES


def test_what_a_process_has_accepted_is_counted_already() -> None:
    accepted = TCP[2].replace("1000        0 0 1 0", "1000        0 7 1 0")
    assert accepted != TCP[2]
    assert kept_by_tcp([accepted]) == 0


def test_udp_sockets_hold_back_what_is_to_be_sent() -> None:
    held_back = TCP[2].replace("00000000:00000100", "00000020:00000100")
    assert kept_by_udp([held_back, TCP[1]]) == 0x20


def test_udp_sockets_received_errors_if_they_received_much() -> None:
    much = TCP[2].replace(":00000100", f":{RECEIVED_BYTES:08X}")
    assert kept_by_udp([much]) == 0
    assert kept_by_udp([much, TCP[2]]) == 0x100


def test_only_record_locks_that_are_held_count() -> None:
    assert count_locks(LOCKS) == 2


def test_a_table_that_is_too_long_counts_as_locks() -> None:
    assert count_locks(LOCKS[2:3] * (LOCK_LINES - 1)) == 0
    assert count_locks(LOCKS[2:3] * LOCK_LINES) > MOST


def test_the_rest_of_a_table_is_not_read_once_there_are_too_many() -> None:
    lines = iter(LOCKS[:1] * (MOST + 5))
    assert count_locks(lines) > MOST
    assert len(list(lines)) == 4
