"""Programs that make the kernel keep something, a kind each."""

from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.uncounted import SOCKETS_BYTES, TIME_WAIT_BYTES
from tests.system.hostile.attack import MIB


@dataclass(frozen=True)
class Hoard:
    """An operation that a program repeats while it keeps what it got."""

    name: str
    operation: str
    """The body of a C function of `long i`; it returns a negative number to end, with the reason in errno."""
    times: int
    answer: str = "0"
    """The errno that ended it; `killed` if the worker does."""
    most_bytes: int = 16 * MIB
    """What may be uncounted: what is refused, and what is counted, shows the host's noise alone."""
    in_pages: bool = False
    """Whether the kernel keeps it in whole pages, which stand in no figure of the host."""

    def __str__(self) -> str:
        return self.name


SOCKET_ADDRESS = """
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
"""
MEMBERSHIP = """
    static int socket_fd;
    if (i % 20 == 0) socket_fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ip_mreqn group = {.imr_multiaddr.s_addr = htonl(0xe1000000 + i), .imr_ifindex = 1};
    return setsockopt(socket_fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group);
"""
MEMBERSHIP_6 = """
    static int socket_fd;
    if (i % 1000 == 0) socket_fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct ipv6_mreq group = {.ipv6mr_multiaddr.s6_addr = {0xff, 2}, .ipv6mr_interface = 1};
    memcpy(&group.ipv6mr_multiaddr.s6_addr[8], &i, 8);
    return setsockopt(socket_fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group);
"""
ACCESS_LIST = """
    static struct { unsigned version; struct { unsigned short tag, perm; unsigned id; } entries[8000]; } list;
    int last = 7999;
    for (int n = 0; n <= last; n++) {
        list.entries[n].tag = 2; list.entries[n].perm = 7; list.entries[n].id = 1000;
    }
    list.version = 2;
    list.entries[0].tag = 1; list.entries[last - 2].tag = 4;
    list.entries[last - 1].tag = 0x10; list.entries[last].tag = 0x20;
    char name[32];
    sprintf(name, "%ld", i);
    if (mkdir(name, 0700)) return -1;
    return setxattr(name, "system.posix_acl_access", &list, sizeof list, 0);
"""
KEY_OF_A_PEER = """
    static int socket_fd;
    if (i % 600 == 0) socket_fd = socket(AF_INET, SOCK_STREAM, 0);
    struct tcp_md5sig key = {.tcpm_keylen = 10};
    ((struct sockaddr_in *)&key.tcpm_addr)->sin_family = AF_INET;
    ((struct sockaddr_in *)&key.tcpm_addr)->sin_addr.s_addr = htonl(0x0a000000 + i);
    return setsockopt(socket_fd, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof key);
"""
LOCK = """
    static int file;
    char name[32];
    if (i % 500 == 0) { sprintf(name, "%ld", i); file = open(name, O_CREAT | O_RDWR, 0600); }
    struct flock lock = {.l_type = F_WRLCK, .l_start = 2 * (500 - i % 500), .l_len = 1};
    return fcntl(file, F_SETLK, &lock);
"""
CONNECTION = (
    SOCKET_ADDRESS
    + """
    static struct sockaddr_in server;
    if (i % 4000 == 0) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(listener, (void *)&address, length) || listen(listener, 4096)) return -1;
        getsockname(listener, (void *)&server, &length);
    }
    int client = socket(AF_INET, SOCK_STREAM, 0);
    return connect(client, (void *)&server, length) || close(client) ? -1 : 0;
"""
)
DATA_IN_CONNECTION = CONNECTION.replace(
    "return connect(client, (void *)&server, length) || close(client) ? -1 : 0;",
    """
    static char data[60000];
    if (connect(client, (void *)&server, length)) return -1;
    send(client, data, sizeof data, MSG_DONTWAIT);
    if (i % 4 == 0) usleep(1000);
    return close(client);
    """,
)
DATAGRAM_HELD_BACK = (
    SOCKET_ADDRESS
    + """
    static char data[65000];
    address.sin_port = htons(9);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (i % 4 == 0) usleep(1000);
    return sendto(fd, data, sizeof data, MSG_MORE | MSG_DONTWAIT, (void *)&address, length);
"""
)
ERROR_QUEUES = (
    SOCKET_ADDRESS
    + """
    static char data[60000];
    union { char room[CMSG_SPACE(4)]; struct cmsghdr header; } control = {.header = {
        .cmsg_len = CMSG_LEN(4), .cmsg_level = SOL_SOCKET, .cmsg_type = SO_TIMESTAMPING}};
    *(unsigned *)CMSG_DATA(&control.header) = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE;
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_name = &address, .msg_namelen = length, .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = &control, .msg_controllen = sizeof control};
    address.sin_port = htons(9);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (i % 4 == 0) usleep(1000);
    for (int n = 0; n < 6; n++)
        if (sendmsg(fd, &message, MSG_DONTWAIT) < 0 && errno != ECONNREFUSED) return -1;
"""
)
LOCK_BEHIND_OTHERS = (
    """
    cpu_set_t cpus;
    if (i == 0) {
        CPU_ZERO(&cpus); CPU_SET(0, &cpus); sched_setaffinity(0, sizeof cpus, &cpus);
        for (int child = 0; child < 18; child++)
            if (fork() == 0) {
                char name[32];
                for (int n = 0; n < 500; n++) {
                    sprintf(name, "f%d-%d", child, n);
                    flock(open(name, O_CREAT | O_RDWR, 0600), LOCK_SH);
                }
                sleep(100);
            }
        sleep(2);
        CPU_ZERO(&cpus); CPU_SET(1, &cpus); sched_setaffinity(0, sizeof cpus, &cpus);
    }
"""
    + LOCK
)
LOCK_BEHIND_ORPHANS = (
    """
    cpu_set_t cpus;
    if (i == 0) {
        CPU_ZERO(&cpus); CPU_SET(0, &cpus); sched_setaffinity(0, sizeof cpus, &cpus);
        for (int child = 0; child < 40; child++) {
            pid_t first = fork();
            if (first == 0) {
                for (int n = 0; n < 500; n++) {
                    flock(open("orphan", O_CREAT | O_RDWR, 0600), LOCK_SH);
                    unlink("orphan");
                }
                if (fork()) _exit(0);
                sleep(100);
            }
            waitpid(first, NULL, 0);
        }
        CPU_ZERO(&cpus); CPU_SET(1, &cpus); sched_setaffinity(0, sizeof cpus, &cpus);
    }
"""
    + LOCK
)
LOCKS_OF_ORPHANS = """
    if (flock(open("orphan", O_CREAT | O_RDWR, 0600), LOCK_SH) || unlink("orphan")) return -1;
    if (i % 500 == 499) {
        if (fork()) {
            if (i < 500 || fork() == 0) while (1) pause();
            _exit(0);
        }
        close_range(3, ~0U, 0);
    }
"""
WATCH = """
    static int watches = -1;
    char name[32];
    if (watches < 0) watches = inotify_init1(0);
    sprintf(name, "%ld", i);
    close(open(name, O_CREAT | O_RDWR, 0600));
    return inotify_add_watch(watches, name, IN_MODIFY);
"""
SIGNALS_OF_PIPES = """
    int on = 1, ends[2];
    if (i % 2000 == 1999) {
        if (fork()) while (1) pause();
        close_range(3, ~0U, 0);
    }
    if (pipe(ends)) return -1;
    for (int end = 0; end < 2; end++)
        if (ioctl(ends[end], FIOASYNC, &on) || fcntl(ends[end], F_SETOWN, getpid())) return -1;
"""
LISTING = """
    static char entries[1 << 16];
    char name[32];
    for (int n = i ? 4000 + i : 0; n <= 4000 + i; n++) {
        sprintf(name, "%d", n);
        close(open(name, O_CREAT | O_RDWR, 0600));
    }
    int folder = open("/box", O_RDONLY | O_DIRECTORY);
    while (syscall(SYS_getdents64, folder, entries, sizeof entries) > 0);
    return folder;
"""
UNREAD = """
    static char data[8192];
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends)) return -1;
    while (send(ends[0], data, sizeof data, MSG_DONTWAIT) >= 0);
    return 0;
"""
UNREAD_OF_LOOPBACK = (
    SOCKET_ADDRESS
    + """
    static char data[8192];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (void *)&address, length) || getsockname(fd, (void *)&address, &length)) return -1;
    for (int n = 0; n < 30; n++)
        if (sendto(fd, data, sizeof data, MSG_DONTWAIT, (void *)&address, length) < 0) return -1;
    if (i % 4 == 0) usleep(1000);
    return 0;
"""
)
FULL_PIPE = """
    static char data[4096];
    int ends[2];
    if (pipe2(ends, O_NONBLOCK)) return -1;
    while (write(ends[1], data, sizeof data) > 0);
    return 0;
"""
READER_OF_PROC = """
    char byte;
    const char *names[] = {"/proc/self/maps", "/proc/self/mountinfo", "/proc/self/status"};
    return read(open(names[i % 3], O_RDONLY), &byte, 1);
"""
EPOLL = """
    static int read_end;
    int fd = epoll_create1(0), ends[2];
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (i % 1000 == 0 && pipe(ends) == 0) read_end = ends[0];
    return epoll_ctl(fd, EPOLL_CTL_ADD, read_end, &event);
"""
TIMER = """
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec later = {.it_value.tv_sec = 1000};
    return timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &later, NULL) ? -1 : 0;
"""
MAPPING = """
    char *two = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return two == MAP_FAILED ? -1 : mprotect(two, 4096, PROT_NONE);
"""
UNDO = """
    struct sembuf up = {.sem_op = 1, .sem_flg = SEM_UNDO};
    int set = semget(IPC_PRIVATE, 1, 0600);
    return set < 0 ? -1 : semop(set, &up, 1);
"""
TIME_WAIT = (
    SOCKET_ADDRESS
    + """
    static int listener;
    static struct sockaddr_in server;
    if (i == 0) {
        address.sin_addr.s_addr = INADDR_ANY;
        listener = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(listener, (void *)&address, length) || listen(listener, 10)) return -1;
        getsockname(listener, (void *)&server, &length);
    }
    // A port has one connection to an address. After a second the kernel uses ports again (tcp_tw_reuse).
    server.sin_addr.s_addr = htonl(0x7f000001 + i / 10000);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (void *)&server, length)) return -1;
    int accepted = accept(listener, NULL, NULL);
    return close(client) || close(accepted);
"""
)
TIME_WAIT_MOST = int(Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").read_text())
"""Connections in TIME_WAIT that a network namespace may have; the kernel derives it from the memory."""
TIME_WAIT_ENDS = "killed" if TIME_WAIT_MOST * TIME_WAIT_BYTES > SOCKETS_BYTES else "0"
DESCRIPTORS = (
    SOCKET_ADDRESS
    + """
    int on = 1, pipe_ends[2], fd = open("x", O_CREAT | O_RDWR, 0600);
    if (flock(fd, LOCK_SH) || fcntl(fd, F_SETOWN, getpid())) return -1;
    if (fcntl(open("x", O_RDONLY), F_SETLEASE, F_RDLCK) && errno != EAGAIN) return -1;
    if (fcntl(open("/box", O_RDONLY), F_NOTIFY, DN_CREATE | DN_MULTISHOT)) return -1;
    if ((fd = epoll_create1(0)) < 0) return -1;
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(fd, EPOLL_CTL_ADD, eventfd(0, 0), &event)) return -1;
    if (timerfd_create(CLOCK_MONOTONIC, 0) < 0 || memfd_create("a name", MFD_ALLOW_SEALING) < 0) return -1;
    if (pipe(pipe_ends)) return -1;
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) return -1;
    if (bind(fd, (void *)&address, length)) return -1;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (void *)&address, length) || listen(fd, 10)) return -1;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    sprintf(name.sun_path + 1, "%090ld", i);
    if (bind(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)&name, sizeof name)) return -1;
    timer_t timer;
    struct sigevent no_event = {.sigev_notify = SIGEV_NONE};
    return timer_create(CLOCK_MONOTONIC, &no_event, &timer);
"""
)

HOARDS = [
    Hoard("access-control-lists", ACCESS_LIST, 500, "EOPNOTSUPP"),
    Hoard("attributes", ACCESS_LIST.replace("system.posix_acl_access", "user.x"), 500, "EOPNOTSUPP"),
    Hoard("keys-of-tcp-peers", KEY_OF_A_PEER, 240_000, "ENOPROTOOPT"),
    Hoard("multicast-groups", MEMBERSHIP, 80_000, "ENOPROTOOPT", most_bytes=12 * MIB),
    Hoard("multicast-groups-of-ipv6", MEMBERSHIP_6, 20_000, "ENOPROTOOPT"),
    Hoard("record-locks", LOCK, 600_000, "killed", most_bytes=64 * MIB),
    Hoard("connections-that-wait", CONNECTION, 24_000, "killed", most_bytes=64 * MIB),
    Hoard("data-in-connections-that-wait", DATA_IN_CONNECTION, 1_800, "killed", 96 * MIB, in_pages=True),
    Hoard("datagrams-held-back", DATAGRAM_HELD_BACK, 1_700, "killed", 96 * MIB, in_pages=True),
    Hoard("errors-of-sockets", ERROR_QUEUES, 400, "killed", 96 * MIB, in_pages=True),
    Hoard("record-locks-behind-others", LOCK_BEHIND_OTHERS, 600_000, "killed", most_bytes=64 * MIB),
    Hoard("record-locks-behind-orphans", LOCK_BEHIND_ORPHANS, 600_000, "killed", most_bytes=64 * MIB),
    Hoard("descriptors", DESCRIPTORS, 300),
    Hoard("locks-of-ended-processes", LOCKS_OF_ORPHANS, 20_000),
    Hoard("watches", WATCH, 20_000),
    Hoard("listings-of-changing-folders", LISTING, 800),
    Hoard("unread-datagrams-of-unix", UNREAD, 1_000, most_bytes=64 * MIB, in_pages=True),
    Hoard("unread-datagrams-of-loopback", UNREAD_OF_LOOPBACK, 150, most_bytes=16 * MIB, in_pages=True),
    Hoard("full-pipes", FULL_PIPE, 1_900, most_bytes=64 * MIB, in_pages=True),
    Hoard("readers-of-proc", READER_OF_PROC, 4_000),
    Hoard("epoll", EPOLL, 4_000),
    Hoard("timers", TIMER, 4_000),
    Hoard("mappings", MAPPING, 30_000),
    Hoard("mount-namespaces", "return unshare(CLONE_NEWNS);", 1_000, "EPERM"),
    Hoard("keys", 'return syscall(SYS_add_key, "user", "k", "x", 1, -3);', 1_000, "EPERM"),
    Hoard("io-uring", "char ring[120] = {0}; return syscall(SYS_io_uring_setup, 64, ring);", 1_000, "EPERM"),
    Hoard("bpf", "char map[120] = {1}; return syscall(SYS_bpf, 0, map, sizeof map);", 1_000, "EPERM"),
    Hoard("signals-of-pipes", SIGNALS_OF_PIPES, 20_000),
    Hoard("undone-semaphores", UNDO, 5_000),
    Hoard("ports-in-time-wait", TIME_WAIT, 120_000, TIME_WAIT_ENDS, most_bytes=24 * MIB),
    Hoard(
        "names-of-what-does-not-exist", 'char n[300]; sprintf(n, "/usr/%0200ld", i); access(n, 0);', 20_000
    ),
]
PROGRAM = """
#include <arpa/inet.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
static int operation(long i) { %s return 0; }
int main(void) {
    puts("ready");
    fflush(stdout);
    while (access("go", F_OK)) usleep(1000);
    long done = 0;
    while (done < %d && operation(done) >= 0) done++;
    printf("did %%ld %%s\\n", done, done < %d ? strerrorname_np(errno) : "0");
    fflush(stdout);
    sleep(100);
}
"""
