"""Ways through /proc: to the host, to other processes, to what may not be changed."""

from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import Attack, bash, c, each, python

ATTACKS = [
    Attack(
        "switches-of-the-machine",
        python("""
            import os
            for folder, folders, names in os.walk("/proc"):
                if folder == "/proc": folders[:] = [name for name in folders if not name.isdigit()]
                for name in names:
                    try: file = os.open(path := os.path.join(folder, name), os.O_WRONLY | os.O_NONBLOCK)
                    except OSError: continue
                    if os.fstat(file).st_rdev != os.stat("/dev/null").st_rdev: print(path)
                    os.close(file)
        """),
    ),
    Attack(
        "what-tells-of-the-machine",
        python("""
            import os
            for name in "kcore", "keys", "key-users", "locks", "timer_list", "interrupts", "cmdline":
                if os.path.exists(f"/proc/{name}") and open(f"/proc/{name}", "rb").read(9): print(name)
            for name in "acpi", "bus", "fs", "irq", "scsi":
                if os.path.exists(f"/proc/{name}") and os.listdir(f"/proc/{name}"): print(name)
        """),
    ),
    Attack(
        "what-a-process-may-change-of-itself",
        python("""
            import errno, os
            seen = set()
            for own in "/proc/self", "/proc/thread-self", f"/proc/self/task/{os.getpid()}":
                for name in os.listdir(own):
                    try: os.close(os.open(f"{own}/{name}", os.O_WRONLY)); seen.add("opened")
                    except OSError as error: seen.add(errno.errorcode[error.errno])
            print(sorted(seen - {"EACCES", "EISDIR", "ETXTBSY"}))
        """),
        sees="['EROFS']\n",
    ),
    Attack(
        "memory-of-the-machine",
        bash("""
            cat /dev/mem /dev/kmem /dev/port /proc/kmsg
            ls /sys
            awk '$1 !~ /^0+$/' /proc/kallsyms; true
        """),
        complains=r"\A(.*(No such file|Permission denied|not permitted).*\n){5,6}\Z",
    ),
    Attack(
        "user-ids-mapped-anew",
        python("""
            for name, text in ("uid_map", "0 0 1"), ("gid_map", "0 0 1"), ("setgroups", "allow"):
                try: open(f"/proc/self/{name}", "wb", 0).write(text.encode()); print("done")
                except OSError as error: print(error.strerror)
        """),
        sees="Read-only file system\n" * 3,
    ),
    Attack(
        "out-of-the-root",
        bash("cd /proc/self/root/../../..; ls; cd /proc/self/cwd/../..; ls -d root home; ls /proc/1/root/"),
        sees="bin\nbox\ndev\netc\nlib\nlib64\nproc\nsbin\ntmp\nusr\n",
        complains="",
        ends=2,
    ),
    Attack(
        "what-runs-is-overwritten",
        c("""
            int main(void) {
                const char *paths[] = {"/proc/self/exe", "/proc/1/exe", "/usr/bin/bash", "/proc/self/fd/3"};
                for (int i = 0; i < 4; i++)
                    puts(open(paths[i], O_WRONLY | O_TRUNC) < 0 ? strerrorname_np(errno) : "opened");
            }
        """),
        sees="ETXTBSY\nENOENT\nEROFS\nENOENT\n",
    ),
    Attack(
        "descriptors-of-ours",
        bash("ls /proc/self/fd | tr '\\n' ' '; exec 3< /; ls /proc/self/fd/3/../../root"),
        sees="0 1 2 3 ",
        complains="No such file",
        ends=2,
    ),
    Attack(
        "control-groups",
        bash("cut -d: -f3 /proc/self/cgroup | sort -u; mount -t cgroup2 none /tmp; ls /sys/fs/cgroup"),
        sees="/\n",
        complains="(?s)(must be superuser|permission denied).*No such file",
        ends=2,
    ),
]


@each(ATTACKS)
def test_attack(arena: Arena, attack: Attack) -> None:
    arena.face(attack)
