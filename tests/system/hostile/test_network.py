"""Connecting anywhere: to the host, to other sandboxes, to the world."""

import os
import re
import socket
from collections.abc import Iterator

import pytest

from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import IPV6, Attack, bash, each, python

ATTACKS = [
    Attack(
        "the-world",
        python("""
            import socket
            for family, address in (
                (socket.AF_INET, ("192.0.2.1", 80)),
                (socket.AF_INET, ("10.0.0.1", 53)),
                (socket.AF_INET, ("169.254.169.254", 80)),
                (socket.AF_INET6, ("2001:db8::1", 80)),
            ):
                for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
                    try: socket.socket(family, kind).connect(address); print(address, "connected")
                    except OSError as error: print(error.strerror)
        """),
        sees=re.compile("(Network is unreachable\n){6}((Network is unreachable|Address family .*)\n){2}"),
    ),
    Attack(
        "names",
        python("import socket; socket.getaddrinfo('localhost.example.org', 80)"),
        complains="gaierror",
        ends=1,
    ),
    Attack(
        "kinds-of-sockets",
        python("""
            import socket
            for family in range(50):
                for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET:
                    try: socket.socket(family, kind)
                    except OSError: continue
                    print(socket.AddressFamily(family).name, socket.SocketKind(kind).name)
        """),
        sees="AF_UNIX SOCK_STREAM\nAF_UNIX SOCK_DGRAM\nAF_UNIX SOCK_RAW\nAF_UNIX SOCK_SEQPACKET\n"
        "AF_INET SOCK_STREAM\nAF_INET SOCK_DGRAM\n" + "AF_INET6 SOCK_STREAM\nAF_INET6 SOCK_DGRAM\n" * IPV6,
    ),
    Attack(
        "protocols-of-sockets",
        python("""
            import ctypes, errno, os
            libc = ctypes.CDLL(None, use_errno=True)
            refused = errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT
            for family in 2, 10:
                for kind in range(16):
                    seen = []
                    for protocol in *range(300), 1 << 32 | 262:
                        libc.socket(family, kind, ctypes.c_long(protocol))
                        if ctypes.get_errno() not in refused: seen.append(protocol)
                        os.closerange(3, 9)
                        ctypes.set_errno(0)
                    if seen: print(family, kind, *seen)
        """),
        sees="2 1 0 6\n2 2 0 1 17\n2 3 1 6 17 58\n" + "10 1 0 6\n10 2 0 17 58\n10 3 1 6 17 58\n" * IPV6,
    ),
    Attack(
        "interfaces",
        python("""
            import fcntl, socket, struct
            print(open("/proc/net/dev").read().count(":"))
            request = struct.pack("16sH14s", b"lo", 0, b"")
            for number in 0x8914, 0x8916:  # SIOCSIFFLAGS, SIOCSIFADDR
                try: fcntl.ioctl(socket.socket(), number, request)
                except OSError as error: print(error.strerror)
        """),
        sees="1\nOperation not permitted\nOperation not permitted\n",
    ),
    Attack(
        "sockets-in-folders",
        bash("find / -xdev -type s 2> /dev/null; ls -d /run /var/run"),
        complains="No such",
        ends=2,
    ),
]


@each(ATTACKS)
def test_attack(arena: Arena, attack: Attack) -> None:
    arena.face(attack)


@pytest.fixture
def listeners() -> Iterator[list[object]]:
    """Addresses of the host where somebody listens: on all interfaces, in an abstract name."""
    abstract = b"\0envicutor-test-%d" % os.getpid()
    with socket.create_server(("", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(abstract)
        unix.listen()
        for server in (tcp, unix):
            server.setblocking(False)
        yield [("127.0.0.1", tcp.getsockname()[1]), abstract]
        for server in (tcp, unix):
            with pytest.raises(BlockingIOError):
                server.accept()


def test_the_host_is_not_reached(arena: Arena, listeners: list[object]) -> None:
    source = f"""
        import socket
        for address in {listeners!r}:
            family = socket.AF_UNIX if isinstance(address, bytes) else socket.AF_INET
            try: socket.socket(family).connect(address)
            except OSError as error: print(error.strerror)
    """
    arena.face(Attack("the-host", python(source), sees="Connection refused\nConnection refused\n"))


def test_ports_are_its_own(arena: Arena) -> None:
    """A program can listen where the host does, and there meets nobody but itself."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        source = f"""
            import socket
            with socket.create_server({taken.getsockname()!r}) as server:
                socket.create_connection(server.getsockname()).close()
                print("connected")
        """
        arena.face(Attack("ports", python(source), sees="connected\n"))
