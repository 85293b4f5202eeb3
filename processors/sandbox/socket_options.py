"""Options of sockets that a program may set. Data only: `seccomp.py` makes rules of them.

This is an allow-list because the kernel stores the data of some options in memory that no control group
counts (`sock_kmalloc`: keys of TCP_MD5SIG, memberships of multicast groups, filters, extension headers of
IPv6). Such data may reach `net.core.optmem_max` for each socket, and new kernels add options. Each listed
option sets a number or a flag in a socket. Names and numbers are those of Linux (`asm-generic/socket.h`,
`linux/tcp.h`, `linux/in.h`, `linux/in6.h`, `linux/udp.h`).
"""

from collections.abc import Mapping

SOL_IP, SOL_SOCKET, SOL_TCP, SOL_UDP, SOL_IPV6 = 0, 1, 6, 17, 41

PRETENDED: Mapping[int, frozenset[int]] = {
    SOL_SOCKET: frozenset({7, 8}),
    SOL_IP: frozenset({11}),
    SOL_IPV6: frozenset({25}),
}
"""Options that answer 0 and do nothing: SO_SNDBUF, SO_RCVBUF, IP_RECVERR, IPV6_RECVERR.

The sizes are hints, which the kernel bounds anyway. Large buffers and queues of errors hold megabytes that no
control group counts.
"""

SETTABLE: Mapping[int, frozenset[int]] = {
    # From SO_REUSEADDR to SO_SNDTIMEO without sizes of buffers: keep-alive, linger, reuse of ports,
    # credentials, time-outs; then SO_TIMESTAMP, SO_PEEK_OFF, and the time-outs of 64 bit for programs built
    # for them.
    SOL_SOCKET: frozenset({*range(2, 7), *range(9, 22), 29, 42, 66, 67}),
    # From TCP_NODELAY to TCP_CONGESTION, TCP_USER_TIMEOUT, TCP_NOTSENT_LOWAT.
    SOL_TCP: frozenset({*range(1, 14), 18, 25}),
    # UDP_CORK, UDP_SEGMENT, UDP_GRO.
    SOL_UDP: frozenset({1, 103, 104}),
    # TOS, TTL, from IP_RECVOPTS to IP_FREEBIND (PKTINFO, MTU_DISCOVER, …), BIND_ADDRESS_NO_PORT,
    # MULTICAST_IF, _TTL, _LOOP and _ALL. Not IP_OPTIONS, nor any membership.
    SOL_IP: frozenset({1, 2, *range(6, 11), *range(12, 16), 24, 32, 33, 34, 49}),
    # UNICAST_HOPS, MULTICAST_IF, _HOPS and _LOOP, MTU_DISCOVER, MTU, V6ONLY, MULTICAST_ALL,
    # RECVPKTINFO, RECVHOPLIMIT, RECVTCLASS, TCLASS.
    SOL_IPV6: frozenset({*range(16, 20), 23, 24, 26, 29, 49, 51, 66, 67}),
}
"""Options that setsockopt may set, by their level."""
