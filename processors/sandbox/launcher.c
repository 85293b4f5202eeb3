/*
 * Launcher of stages: the steps that Python cannot take, between fork and exec and inside the sandbox.
 *
 *   launcher serve PARENT_PID SOCKET_FD   stay, and fork a child of PARENT_PID for each line:
 *       UID ORDERS...    pid 1 of a sandbox of this user: obey the orders, wait for more, and run the program
 *       0                no sandbox: join the control groups, leave the network, execute the program
 *
 * A line is a message of NUL-terminated words with descriptors 0 and 2 of the child. The reply is the child's process
 * id, or a negative error number if there is no child. A fork is cheaper than an exec for each stage, and its process as
 * clean, because the server does nothing else.
 *
 * Descriptor 0 is a socket, over which pid 1 sends files of its sandbox. Its first message to the child has the orders
 * and the program's descriptors; a sandbox may be made long before it comes. In a sandbox the program waits for a second
 * message. If the socket is closed before, nothing runs.
 *
 * Descriptor 2 is the report, which the program never receives. The launcher writes "started NANOSECONDS" when only
 * exec is left, and "ended WAIT_STATUS NANOSECONDS" at the end of the program. Pid 1 of a sandbox writes "empty" when no
 * other process is left in it, and takes it down then. Before "started" it writes only error messages: if any step
 * fails, the launcher reports it and exits, and does not run the program.
 *
 * Orders are NUL-terminated words, see orders.py. The worker writes them; only the program's arguments and variables
 * among them come from the client.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SETUP_FAILED = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127 };
enum { SOCKET = 3, FIRST_RECEIVED, MAX_RECEIVED = 64 };
enum { CHANNEL, REPORT = 2 };             /* descriptors of a child */
enum { ORDERS, STDIN, STDOUT, STDERR };   /* positions of the descriptors that come with orders; others have numbers in these */
enum { MAX_GROUPS = 8, MAX_LIMITS = 16, ID_INSIDE = 1000, LEAST_USER = 1000 };

static int report_fd = REPORT;

static _Noreturn void fail(const char *step, const char *what) {
	dprintf(report_fd, "%s %s: %s\n", step, what, strerror(errno));
	_exit(SETUP_FAILED);
}

static void report(const char *format, ...) {
	va_list values;
	va_start(values, format);
	int written = vdprintf(report_fd, format, values);
	va_end(values);
	if (written < 0)
		_exit(SETUP_FAILED); /* no worker reads the report any more */
}

static long long now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long number(const char *text) {
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (errno || end == text || *end) {
		errno = EINVAL;
		fail("number", text);
	}
	return value;
}

/* ---- messages with descriptors ---- */

/* Receives a message; returns its length, 0 at the end of the socket, or -1. Stores the number of its descriptors. */
static ssize_t receive(int socket_fd, char *into, size_t size, int *descriptors, size_t *count) {
	static union {
		struct cmsghdr align;
		char space[CMSG_SPACE(MAX_RECEIVED * sizeof(int))];
	} control;
	struct iovec buffer = {into, size};
	struct msghdr message = {
		.msg_iov = &buffer, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};
	ssize_t length;
	do
		length = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*count = 0;
	if (length <= 0 || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || !header)
		return length;
	if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS && !CMSG_NXTHDR(&message, header)) {
		*count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(descriptors, CMSG_DATA(header), *count * sizeof(int));
	}
	return length;
}

/* ---- orders ---- */

static int received[MAX_RECEIVED];
static size_t received_count;

struct orders {
	int join_fds[MAX_GROUPS];    /* open files of control groups; a process that writes "0" joins the group */
	size_t joins;
	struct { int resource; struct rlimit limit; } rlimits[MAX_LIMITS];
	size_t limits;
	struct sock_fprog seccomp;
	char **argv, **envp;
};

static char *word, *words_end;

static char *next_word(void) {
	char *found = word, *end = found < words_end ? memchr(found, 0, words_end - found) : NULL;
	if (!end) {
		errno = EINVAL;
		fail("read", "orders");
	}
	word = end + 1;
	return found;
}

/* Waits for the message with the orders, which may never come. */
static void receive_orders(void) {
	char text[16];
	if (receive(CHANNEL, text, sizeof text, received, &received_count) <= 0)
		_exit(SETUP_FAILED);
	if (received_count <= STDERR) {
		errno = EINVAL;
		fail("receive", "orders");
	}
}

/* Returns the descriptor at a position among those that came with the orders. */
static int received_at(const char *position) {
	long at = number(position);
	if (at <= STDERR || (size_t)at >= received_count) {
		errno = EINVAL;
		fail("descriptor", position);
	}
	return received[at];
}

static struct sock_fprog read_filter(int fd) {
	struct stat file;
	if (fstat(fd, &file))
		fail("stat", "seccomp filter");
	struct sock_fprog program = {.len = file.st_size / sizeof(struct sock_filter), .filter = malloc(file.st_size)};
	if (!program.filter || pread(fd, program.filter, file.st_size, 0) != file.st_size)
		fail("read", "seccomp filter");
	return program;
}

/* ---- the root of a sandbox ---- */

/* Sets attributes of mounts, which no later mount or unmount of the host reaches. */
static void set_attributes(int directory, const char *path, int flags, unsigned long long attributes) {
	struct mount_attr wanted = {.attr_set = attributes, .propagation = MS_PRIVATE};
	if (mount_setattr(directory, path, flags, &wanted, sizeof wanted))
		fail("restrict", *path ? path : "a mount");
}

/* Makes a mount point below the new root, which is the working directory, and the folders above it. */
static const char *make_place(const char *target, mode_t kind) {
	static char path[256];
	if (*target != '/' || strlen(target) >= sizeof path) {
		errno = EINVAL;
		fail("make", target);
	}
	strcpy(path, target + 1);
	for (char *slash = path; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = 0;
		if (mkdir(path, 0755) && errno != EEXIST)
			fail("make", path);
	}
	if ((S_ISDIR(kind) ? mkdir(path, 0755) : mknod(path, S_IFREG | 0444, 0)) && errno != EEXIST)
		fail("make", path);
	return path;
}

/* Mounts a detached tree in the new root. */
static void mount_tree(int tree, const char *target, unsigned long long attributes) {
	struct stat source;
	set_attributes(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attributes);
	if (fstat(tree, &source))
		fail("stat", target);
	const char *place = make_place(target, source.st_mode);
	if (move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH))
		fail("mount", target);
	close(tree);
}

/* Mounts a folder of the host, with the devices that are mounted in it, while the host's mounts are there. */
static void mount_devices(const char *source, const char *target) {
	int tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT | AT_RECURSIVE);
	if (tree < 0)
		fail("bind", source);
	mount_tree(tree, target, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY);
}

/* Mounts an empty file system over an existing folder, in this mount namespace only. */
static void begin_root(const char *over) {
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		fail("make private", "/");
	if (mount("tmpfs", over, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,nr_inodes=256,mode=755") || chdir(over))
		fail("mount root on", over);
}

/* Called before the old root goes: the kernel permits a new /proc only if a complete one is visible. */
static void mount_proc(const char *target) {
	if (mount("proc", make_place(target, S_IFDIR), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		fail("mount", target);
}

/* Makes the new root the only one: no mount of the host is kept alive, such as that of another box. */
static void enter_root(void) {
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		fail("enter", "the new root");
}

static void link_to(const char *text, const char *path) {
	if (symlink(text, path + 1))
		fail("link", path);
}

/* Makes the root read-only, and enters the working directory of the program. */
static void end_root(const char *directory) {
	set_attributes(AT_FDCWD, "/", 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (chdir(directory))
		fail("enter", directory);
}

/* ---- inside the new root ---- */

static void mount_tmpfs(const char *target, const char *options) {
	if (mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options))
		fail("mount tmpfs on", target);
}

/* Covers a path that reveals facts of the host with an empty file or folder; a path may be missing in this kernel. */
static void mask(const char *target) {
	if (!mount("/dev/null", target, NULL, MS_BIND, NULL))
		return;
	int is_folder = errno == ENOTDIR;
	if (access(target, F_OK) && errno == ENOENT)
		return;
	if (!is_folder
	    || mount("tmpfs", target, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=1"))
		fail("mask", target);
}

/*
 * Hides processes that the program may not trace: pid 1, whose files reveal our control groups. Makes /proc read-only:
 * if the worker lacks CAP_SYS_RESOURCE, a program without capabilities could otherwise lower its own oom_score_adj.
 */
static void restrict_proc(const char *proc) {
	if (mount(NULL, proc, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2"))
		fail("restrict", proc);
}

/* Sends a file of this sandbox to the worker, opened for reading. */
static void send_file(const char *path) {
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	char byte = 0;
	struct iovec buffer = {&byte, sizeof byte};
	struct msghdr message = {
		.msg_iov = &buffer, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	if (fd < 0 || sendmsg(CHANNEL, &message, MSG_NOSIGNAL) < 0)
		fail("send", path);
	close(fd);
}

/* Reads the orders that are left; it stores those for the program's process, and executes the others at once. */
static void obey(struct orders *orders) {
	while (word < words_end) {
		char *order = next_word(), *value = next_word();
		if (!strcmp(order, "directory")) {
			if (chdir(value))
				fail("enter", value);
		} else if (!strcmp(order, "join") && orders->joins < MAX_GROUPS)
			orders->join_fds[orders->joins++] = received_at(value);
		else if (!strcmp(order, "rlimit") && orders->limits < MAX_LIMITS) {
			orders->rlimits[orders->limits].resource = number(value);
			orders->rlimits[orders->limits].limit.rlim_cur = number(next_word());
			orders->rlimits[orders->limits++].limit.rlim_max = number(next_word());
		} else if (!strcmp(order, "seccomp"))
			orders->seccomp = read_filter(received_at(value));
		else if (!strcmp(order, "begin-root"))
			begin_root(value);
		else if (!strcmp(order, "bind-devices"))
			mount_devices(value, next_word());
		else if (!strcmp(order, "folder"))
			make_place(value, S_IFDIR);
		else if (!strcmp(order, "proc")) {
			mount_proc(value);
			enter_root();
		} else if (!strcmp(order, "bind"))
			mount_tree(received_at(value), next_word(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
		else if (!strcmp(order, "bind-read-only"))
			mount_tree(received_at(value), next_word(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY);
		else if (!strcmp(order, "link"))
			link_to(value, next_word());
		else if (!strcmp(order, "end-root"))
			end_root(value);
		else if (!strcmp(order, "tmpfs"))
			mount_tmpfs(value, next_word());
		else if (!strcmp(order, "mask"))
			mask(value);
		else if (!strcmp(order, "send"))
			send_file(value);
		else if (!strcmp(order, "restrict-proc"))
			restrict_proc(value);
		else {
			errno = EINVAL;
			fail("order", order);
		}
	}
}

/* Reads the program and obeys the orders that came with the message. */
static void read_orders(struct orders *orders) {
	struct stat file;
	if (fstat(received[ORDERS], &file))
		fail("stat", "orders");
	word = mmap(NULL, file.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, received[ORDERS], 0);
	if (word == MAP_FAILED)
		fail("map", "orders");
	words_end = word + file.st_size;
	size_t args = number(next_word()), vars = number(next_word());
	orders->argv = calloc(args + 1, sizeof *orders->argv);
	orders->envp = calloc(vars + 1, sizeof *orders->envp);
	if (!orders->argv || !orders->envp)
		fail("allocate", "arguments");
	for (size_t i = 0; i < args; i++)
		orders->argv[i] = next_word();
	for (size_t i = 0; i < vars; i++)
		orders->envp[i] = next_word();
	obey(orders);
}

/* ---- steps ---- */

static void set_parent_death_signal(void) {
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		fail("set", "parent death signal");
}

static void end_with_parent(pid_t parent) {
	set_parent_death_signal();
	if (getppid() != parent) /* the parent ended before the signal was set */
		_exit(SETUP_FAILED);
}

/* Uses the system call: libc refuses to reset its own signals 32 and 33, which an ancestor may have ignored. */
static void reset_signals(void) {
	unsigned long none = 0;
	struct { /* the kernel's struct sigaction on x86-64 and arm64 */
		unsigned long handler, flags, restorer, mask;
	} by_default = {0};
	if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none))
		fail("reset", "signal mask");
	for (int number = 1; number < NSIG; number++)
		syscall(SYS_rt_sigaction, number, &by_default, NULL, sizeof none); /* refused for SIGKILL, SIGSTOP */
}

/*
 * Makes the OOM killer prefer this process and its children. With CAP_SYS_RESOURCE on the host, which children in a user
 * namespace lack, this is the least value as well. No program can write the value, see restrict_proc.
 */
static void raise_oom_score(void) {
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1000", 4) != 4)
		fail("set", "oom_score_adj");
	close(fd);
}

/* Needs root: the limits that the worker inherited must not be below those that a submission may request. */
static void raise_hard_limits(void) {
	static const struct { int resource; rlim_t least; } wanted[] = {
		{RLIMIT_FSIZE, RLIM_INFINITY}, {RLIMIT_CPU, RLIM_INFINITY}, {RLIMIT_CORE, RLIM_INFINITY},
		{RLIMIT_STACK, RLIM_INFINITY}, {RLIMIT_MEMLOCK, RLIM_INFINITY}, {RLIMIT_NOFILE, 65536},
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		struct rlimit limit;
		if (getrlimit(wanted[i].resource, &limit) || limit.rlim_max >= wanted[i].least)
			continue;
		limit.rlim_max = wanted[i].least;
		setrlimit(wanted[i].resource, &limit); /* refused without CAP_SYS_RESOURCE; the program's own setrlimit then fails */
	}
	struct rlimit none = {0, 0};
	if (setrlimit(RLIMIT_RTPRIO, &none) || setrlimit(RLIMIT_NICE, &none))
		fail("set", "limit on priorities");
}

/* The kernel compares a user's descriptors in queues of sockets, which an earlier stage may have left, with the soft limit. */
static void raise_open_files(void) {
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		fail("get", "limit on open files");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		fail("set", "limit on open files");
}

static void join_groups(const struct orders *orders) {
	if (!orders->joins) {
		errno = EINVAL;
		fail("join", "no control group");
	}
	for (size_t i = 0; i < orders->joins; i++)
		if (write(orders->join_fds[i], "0", 1) != 1)
			fail("join", "control group");
}

/* Prevents that later children gain capabilities; this process keeps its own until drop_capabilities. */
static void empty_bounding_set(void) {
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
		if (prctl(PR_CAPBSET_DROP, capability))
			fail("drop", "capability of the bounding set");
}

static void drop_capabilities(void) {
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		fail("drop", "ambient capabilities");
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}};
	if (syscall(SYS_capset, &header, none))
		fail("drop", "capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("set", "no_new_privs");
}

static int moved(int fd, const char *what) {
	int to = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (to < 0)
		fail("keep", what);
	return to;
}

/* Gives descriptors 0, 1 and 2 to the program, no other survives exec; returns the channel, which has another number. */
static int arrange_descriptors(void) {
	int channel = moved(CHANNEL, "channel");
	report_fd = moved(REPORT, "report");
	for (int at = STDIN; at <= STDERR; at++)
		if (dup2(received[at], at - STDIN) < 0)
			fail("set", "standard descriptor");
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC))
		fail("close", "descriptors");
	return channel;
}

/* Waits for the message that permits the program to run. */
static void wait_for_permission(int channel) {
	char byte;
	ssize_t got;
	do
		got = read(channel, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got != 1)
		_exit(SETUP_FAILED); /* the worker closed the channel */
}

static _Noreturn void execute(const struct orders *orders) {
	report("started %lld\n", now_ns());
	environ = orders->envp;
	execvp(orders->argv[0], orders->argv);
	int reason = errno;
	int unknown = reason == ENOENT && !strchr(orders->argv[0], '/');
	dprintf(2, "%s: %s\n", orders->argv[0], unknown ? "command not found" : strerror(reason));
	_exit(reason == ENOENT ? NOT_FOUND : CANNOT_EXECUTE);
}

static _Noreturn void become_program(const struct orders *orders) {
	if (setsid() < 0)
		fail("start", "session");
	join_groups(orders);
	if (unshare(CLONE_NEWCGROUP)) /* after joining, so that /proc/self/cgroup shows "/" */
		fail("unshare", "control group namespace");
	int channel = arrange_descriptors();
	for (size_t i = 0; i < orders->limits; i++)
		if (setrlimit(orders->rlimits[i].resource, &orders->rlimits[i].limit)) {
			char resource[32];
			snprintf(resource, sizeof resource, "resource limit %d", orders->rlimits[i].resource);
			fail("set", resource);
		}
	drop_capabilities();
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &orders->seccomp))
		fail("install", "seccomp filter");
	wait_for_permission(channel);
	execute(orders);
}

/* ---- children ---- */

/* Kills all other processes of the sandbox and reaps them: none can fork any more once it is being killed. */
static void empty_sandbox(void) {
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) >= 0 || errno == EINTR)
		;
	report("empty\n");
}

static _Noreturn void be_pid_1(void) {
	struct orders orders = {0};
	if (prctl(PR_SET_DUMPABLE, 0)) /* the program runs as the same user and must not read our /proc files */
		fail("set", "dumpable");
	empty_bounding_set();
	obey(&orders); /* those of the command line, for any program */
	receive_orders();
	read_orders(&orders);
	pid_t child = fork();
	if (child < 0)
		fail("fork", "program");
	if (child == 0)
		become_program(&orders);
	if (dup2(report_fd, 0) < 0 || close_range(1, ~0U, 0))
		_exit(SETUP_FAILED);
	report_fd = 0;
	drop_capabilities();
	for (;;) { /* pid 1 reaps orphans */
		int status;
		pid_t ended = waitpid(-1, &status, 0);
		if (ended == child) {
			report("ended %d %lld\n", status, now_ns());
			empty_sandbox();
			_exit(0);
		}
		if (ended < 0 && errno != EINTR)
			fail("wait for", "program");
	}
}

static void write_text(const char *path, const char *text) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t length = strlen(text);
	if (fd < 0 || write(fd, text, length) != length)
		fail("write", path);
	close(fd);
}

/* Maps the only user id inside the sandbox, and becomes this user: the real and saved ids are still the server's. */
static void become_user(uid_t outside) {
	char map[64];
	uid_t real, effective, saved;
	snprintf(map, sizeof map, "%d %u 1", ID_INSIDE, outside);
	write_text("/proc/self/setgroups", "deny");
	write_text("/proc/self/uid_map", map);
	write_text("/proc/self/gid_map", map);
	if (setresgid(ID_INSIDE, ID_INSIDE, ID_INSIDE) || setresuid(ID_INSIDE, ID_INSIDE, ID_INSIDE))
		fail("become", "user of the sandbox");
	if (getresuid(&real, &effective, &saved) || real != ID_INSIDE || effective != ID_INSIDE || saved != ID_INSIDE)
		fail("become", "user of the sandbox");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("set", "no_new_privs");
}

static void raise_loopback(void) {
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
		fail("raise", "loopback interface");
	close(fd);
}

/* Ends with the worker, even if it ended before the signal was set: it holds the other end of the channel. */
static void end_with_worker(void) {
	struct pollfd channel = {.fd = CHANNEL};
	set_parent_death_signal();
	if (poll(&channel, 1, 0) < 0 || channel.revents)
		_exit(SETUP_FAILED);
}

static _Noreturn void sandboxed(uid_t user) {
	if (prctl(PR_SET_DUMPABLE, 1)) /* so that it can write to its own /proc files; no other process has this user id */
		fail("set", "dumpable");
	reset_signals();
	raise_open_files();
	umask(022);
	become_user(user);
	end_with_worker();
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)) /* here, since the worker waits for the fork */
		fail("make", "namespaces");
	if (sethostname("box", 3) || setdomainname("(none)", 6))
		fail("set", "host name");
	raise_loopback();
	be_pid_1();
}

static _Noreturn void bounded(pid_t parent) {
	struct orders orders = {0};
	end_with_parent(parent);
	receive_orders();
	read_orders(&orders);
	reset_signals();
	umask(022);
	join_groups(&orders);
	if (unshare(CLONE_NEWNET))
		fail("unshare", "network");
	arrange_descriptors();
	execute(&orders);
}

/* ---- server ---- */

/* Erases our command line, which has paths of the host and which the program could read at pid 1. */
static void erase_command_line(char **argv) {
	for (; *argv; argv++)
		memset(*argv, 0, strlen(*argv));
}

/* Runs in a child of the worker, which reaps it. */
static _Noreturn void be_child(uid_t user, char *orders, char *end, const int descriptors[2], pid_t worker) {
	if (dup2(descriptors[0], CHANNEL) < 0 || dup2(descriptors[1], REPORT) < 0 || close_range(SOCKET, ~0U, 0))
		fail("arrange", "descriptors");
	if (setsid() < 0)
		fail("start", "session");
	word = orders;
	words_end = end;
	if (user)
		sandboxed(user);
	bounded(worker);
}

/*
 * Forks a child of the worker. If there is a user, the child is pid 1 of new namespaces of users and processes, which
 * belong to the effective user of this process: the child may map this user, and has no capability on the host.
 */
static pid_t fork_child(uid_t user) {
	struct clone_args how = {.flags = CLONE_PARENT | (user ? CLONE_NEWUSER | CLONE_NEWPID : 0)};
	if (user && (setegid(user) || seteuid(user)))
		_exit(SETUP_FAILED);
	pid_t child = syscall(SYS_clone3, &how, sizeof how);
	int reason = errno;
	if (child && user && (seteuid(0) || setegid(0)))
		_exit(SETUP_FAILED);
	errno = reason;
	return child;
}

static _Noreturn void serve(pid_t worker, int socket_fd, char **command_line) {
	static char line[1 << 12];
	erase_command_line(command_line);
	if (setgroups(0, NULL))
		fail("drop", "groups");
	raise_hard_limits();
	raise_oom_score();
	if (dup2(socket_fd, SOCKET) < 0 || close_range(FIRST_RECEIVED, ~0U, 0))
		fail("arrange", "descriptors");
	for (;;) {
		int descriptors[MAX_RECEIVED], answer = -EINVAL;
		size_t count;
		end_with_parent(worker); /* each time: a change of user clears the signal */
		ssize_t length = receive(SOCKET, line, sizeof line, descriptors, &count);
		if (length <= 0)
			_exit(length ? SETUP_FAILED : 0);
		char *orders;
		unsigned long user = strtoul(line, &orders, 10);
		if (count == 2 && !line[length - 1] && !*orders && (!user || (user >= LEAST_USER && user < UINT32_MAX))) {
			answer = fork_child(user);
			if (answer == 0)
				be_child(user, orders + 1, line + length, descriptors, worker);
			if (answer < 0)
				answer = -errno;
		}
		if (close_range(FIRST_RECEIVED, ~0U, 0) || send(SOCKET, &answer, sizeof answer, MSG_NOSIGNAL) < 0)
			_exit(SETUP_FAILED);
	}
}

int main(int argc, char **argv) {
	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(number(argv[2]), number(argv[3]), argv);
	errno = EINVAL;
	fail("usage", argc > 1 ? argv[1] : "");
}
