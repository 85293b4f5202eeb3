"""What a program can see and do outside of its box: nothing."""

import os
import shutil
import socket

import pytest

from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash

SYSCALL = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    result = libc.syscall(number, *arguments)
    print(name, "done" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""
X86_64_CALLS = {
    "ptrace": (101, 0, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "unshare": (272, 0x10000000),
    "setns": (308, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "keyctl": (250, 0, 0, 0, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "userfaultfd": (323, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0),
    "clone_newuser": (56, 0x10000000 | 17, 0, 0, 0, 0),
    "pivot_root": (155, 0, 0),
    "open_by_handle_at": (304, 0, 0, 0),
}


def test_no_network_but_its_own_loopback(laboratory: Laboratory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = f"""
import socket
for address in ("127.0.0.1", {port}), ("192.0.2.1", 80), ("8.8.8.8", 53):
    try: socket.create_connection(address, 1)
    except OSError as error: print(error.strerror)
with socket.create_server(("127.0.0.1", 0)) as own:
    socket.create_connection(own.getsockname()).close(); print("own")
print(open("/proc/net/dev").read().count(":"))
"""
        done = laboratory.python(source)
    assert done.stdout.decode().split("\n") == [
        "Connection refused",
        "Network is unreachable",
        "Network is unreachable",
        "own",
        "1",
        "",
    ]


def test_no_abstract_sockets_of_the_host(laboratory: Laboratory) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(b"\0envicutor-test-%d" % os.getpid())
        server.listen()
        done = laboratory.python(
            f"import socket; s = socket.socket(socket.AF_UNIX);s.connect(b'\\0envicutor-test-{os.getpid()}')"
        )
    assert b"ConnectionRefusedError" in done.stderr


@pytest.mark.parametrize("family", ["AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG", "AF_TIPC"])
def test_other_socket_families_do_not_exist(laboratory: Laboratory, family: str) -> None:
    done = laboratory.python(f"import socket; socket.socket(socket.{family}, socket.SOCK_RAW)")
    assert b"Address family not supported" in done.stderr


def test_no_host_files(laboratory: Laboratory) -> None:
    done = laboratory.script("ls /; ls -A /etc /tmp /dev /dev/shm; cat /etc/passwd /etc/shadow; exit 0")
    text = done.stdout.decode()
    assert text.startswith("bin\nbox\ndev\netc\n")
    for name in ("home", "root", "var", "run", "sys", "mnt", "nix"):
        assert name not in text.split("\n\n")[0].split()
    assert done.stderr.count(b"No such file") == 2


def test_nothing_but_the_box_and_temporary_folders_can_be_written(laboratory: Laboratory) -> None:
    done = laboratory.script(
        "for d in / /usr /etc /dev /proc /proc/sys/kernel /bin; do (: > $d/x) 2>/dev/null && echo $d; done;"
        "for d in /box /tmp /dev/shm; do : > $d/x && echo $d; done"
    )
    assert done.stdout == b"/box\n/tmp\n/dev/shm\n"


def test_user_names_and_processes_are_its_own(laboratory: Laboratory) -> None:
    done = laboratory.script("id; hostname; ls /proc | grep -c '^[0-9]'; cat /proc/self/cgroup | cut -d: -f3")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "uid=1000 gid=1000 groups=1000"
    assert lines[1] == "box"
    assert int(lines[2]) <= 5  # pid 1, the shell, ls and grep
    assert set(lines[3:]) == {"/"}


def test_on_the_host_it_is_a_user_of_its_own(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as one, sandboxes.box({}, LIMITS) as other:
            await bash(one, ": > mine")
            await bash(other, ": > mine")
            owners = {(box.path / "mine").stat().st_uid for box in (one, other)}
            assert owners == {one.uid, other.uid}
            assert len(owners) == 2
            assert all(uid >= laboratory.settings.first_uid for uid in owners)

    laboratory.run(experiment)


def test_no_privileges(laboratory: Laboratory) -> None:
    done = laboratory.script("grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status")
    values = dict(line.split(":") for line in done.stdout.decode().splitlines())
    assert {name: int(values[name], 16) for name in values if name.startswith("Cap")} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0
    )
    assert values["NoNewPrivs"].strip() == "1"
    assert values["Seccomp"].strip() == "2"


def test_no_descriptors_of_ours(laboratory: Laboratory) -> None:
    done = laboratory.script("ls /proc/self/fd; ls -l /proc/1/fd; exit 0")
    assert done.stdout.split() == [b"0", b"1", b"2", b"3"]  # 3 is what ls reads
    assert b"Permission denied" in done.stderr


def test_pid_1_cannot_be_read_traced_or_killed(laboratory: Laboratory) -> None:
    done = laboratory.script("kill -9 1; kill -STOP 1; cat /proc/1/environ; : > /proc/1/mem; echo alive")
    assert done.stdout == b"alive\n"
    assert done.stderr.count(b"Permission denied") == 2


def test_its_files_in_proc_tell_nothing_of_the_host(laboratory: Laboratory) -> None:
    done = laboratory.script("cd /proc/self; cat environ cmdline cgroup mountinfo ../1/cmdline /proc/cmdline")
    assert str(laboratory.settings.state_dir).encode() not in done.stdout
    assert str(laboratory.settings.cache_dir).encode() not in done.stdout
    assert os.uname().nodename.encode() not in done.stdout.split()
    assert b"envicutor" not in done.stdout
    with open("/proc/cmdline", "rb") as file:
        assert file.read() not in done.stdout


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_system_calls_that_are_refused(laboratory: Laboratory) -> None:
    calls = "\n".join(f"call({name!r}, {', '.join(map(str, call))})" for name, call in X86_64_CALLS.items())
    done = laboratory.python(SYSCALL + calls + "\ncall('clone3', 435, 0, 0)\ncall('newest', 1000)")
    answers = dict(line.split() for line in done.stdout.decode().splitlines())
    assert answers == dict.fromkeys(X86_64_CALLS, "EPERM") | {"clone3": "ENOSYS", "newest": "ENOSYS"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_x32_calls_end_the_program(laboratory: Laboratory) -> None:
    done = laboratory.python(SYSCALL + "call('getpid', 0x40000000 | 39)")
    assert done.signal == "SIGSYS"


def test_each_stage_starts_with_empty_temporary_folders(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> Completed:
        async with sandboxes.box({}, LIMITS) as box:
            await bash(box, "echo x > /tmp/x; echo x > /dev/shm/x; echo x > /box/x")
            return await bash(box, "ls /tmp /dev/shm /box")

    assert laboratory.run(experiment).stdout == b"/box:\nx\n\n/dev/shm:\n\n/tmp:\n"


def test_an_environment_shows_its_tree_and_nothing_else(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS) as box:
            host = Rootfs.of_host_tools()
            tree = laboratory.settings.state_dir / "tree"
            (tree / "usr" / "share").mkdir(parents=True)
            (tree / "usr" / "bin").symlink_to("share")
            (tree / "etc").mkdir()
            (tree / "etc" / "motd").write_text("welcome\n")
            environment = Rootfs.of_environment(tree)
            assert set(environment.mounts) == {"/usr", "/etc"}
            assert environment.symlinks == {"/bin": "usr/bin"}
            mixed = Rootfs(dict(environment.mounts) | {"/usr": host.mounts["/usr"]}, host.symlinks)
            done = await box.run(Command(["cat", "/etc/motd"]), mixed, LIMITS)
            assert done.stdout == b"welcome\n"

    try:
        laboratory.run(experiment)
    finally:
        shutil.rmtree(laboratory.settings.state_dir / "tree")


def test_standard_devices_work(laboratory: Laboratory) -> None:
    done = laboratory.script(
        "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/null; echo x > /dev/full;"
        "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin; cat <(echo pipe)",
        stdin=b"in\n",
    )
    assert done.stdout == b"4\n4\nout\nin\npipe\n"
    assert b"No space left" in done.stderr
    assert done.stderr.endswith(b"err\n")


def test_signals_are_as_in_a_fresh_process(laboratory: Laboratory) -> None:
    done = laboratory.script("exec grep -E '^(SigBlk|SigIgn)' /proc/self/status")
    assert {line.split()[1] for line in done.stdout.splitlines()} == {b"0" * 16}


def test_crashes_do_not_start_the_hosts_core_dump_handler(laboratory: Laboratory) -> None:
    done = laboratory.script("ulimit -H -c; ulimit -S -c; kill -SEGV $$")
    assert done.signal == "SIGSEGV"
    limits = laboratory.script("grep 'core file' /proc/self/limits").stdout
    assert limits.split()[4:6] == [b"1", b"1"]
