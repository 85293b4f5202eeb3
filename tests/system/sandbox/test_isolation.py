"""What a program can see and do outside of its box: nothing."""

import os
import shutil

from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash


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


def test_its_files_in_proc_tell_nothing_of_the_host(laboratory: Laboratory) -> None:
    done = laboratory.script("cd /proc/self; cat environ cmdline cgroup mountinfo ../1/cmdline /proc/cmdline")
    assert str(laboratory.settings.state_dir).encode() not in done.stdout
    assert str(laboratory.settings.cache_dir).encode() not in done.stdout
    assert os.uname().nodename.encode() not in done.stdout.split()
    assert b"envicutor" not in done.stdout
    with open("/proc/cmdline", "rb") as file:
        assert file.read() not in done.stdout


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


def test_devices_of_the_host_cannot_be_changed(laboratory: Laboratory) -> None:
    done = laboratory.script(
        "cd /dev; for d in null zero full random urandom; do"
        " touch $d; chmod 600 $d; chown 1000 $d; ln $d link; rm -f $d; mv -f $d moved; done"
    )
    said = done.stderr.decode().splitlines()
    assert len(said) == 5 * 6
    assert [line for line in said if not line.endswith(("Read-only file system", "resource busy"))] == []


def test_signals_are_as_in_a_fresh_process(laboratory: Laboratory) -> None:
    done = laboratory.script("exec grep -E '^(SigBlk|SigIgn)' /proc/self/status")
    assert {line.split()[1] for line in done.stdout.splitlines()} == {b"0" * 16}


def test_crashes_do_not_start_the_hosts_core_dump_handler(laboratory: Laboratory) -> None:
    done = laboratory.script("ulimit -H -c; ulimit -S -c; kill -SEGV $$")
    assert done.signal == "SIGSEGV"
    limits = laboratory.script("grep 'core file' /proc/self/limits").stdout
    assert limits.split()[4:6] == [b"1", b"1"]
