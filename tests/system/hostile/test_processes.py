"""Bombs, daemons, and programs that go for the processes around them."""

import re

from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import LIMITS, Attack, bash, c, each, python

SHORT = LIMITS.replace(wall_time_s=0.5, cpus=2, processes=100)
FEW = LIMITS.replace(processes=20)

BOMBS = [
    Attack(
        "fork-bomb",
        python("""
            import os
            while True:
                try: os.fork()
                except OSError: pass
        """),
        SHORT,
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "fork-bomb-of-a-shell",
        bash("bomb() { bomb | bomb & }; bomb; sleep 1000"),
        SHORT,
        complains=r"\A\Z|fork: .*Resource temporarily unavailable",
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "fork-bomb-of-all-processes-that-there-may-be",
        c("int main(void) { for (;;) fork(); }"),
        SHORT.replace(processes=512),
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "fork-bomb-that-goes-on-when-the-program-has-ended",
        c("""
            int main(void) {
                puts("bye");
                fflush(stdout);
                if (fork() == 0)
                    for (;;) fork();
                usleep(100000);
                _exit(0);
            }
        """),
        LIMITS.replace(processes=100, cpus=2),
        sees="bye\n",
    ),
    Attack(
        "process-that-is-another-one-each-moment",
        c("""
            int main(void) {
                if (fork()) pause();
                for (;;) if (fork() > 0) _exit(0);
            }
        """),
        SHORT,
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "thread-bomb",
        c("""
            void *sleeper(void *_) { pause(); return _; }
            int main(void) {
                pthread_t thread;
                int made = 0, error;
                while (!(error = pthread_create(&thread, NULL, sleeper, NULL))) made++;
                printf("%d %s\\n", made, strerrorname_np(error));
                return 3;
            }
        """),
        FEW,
        sees="19 EAGAIN\n",
        ends=3,
        blamed="processes",
    ),
    Attack(
        "zombie-bomb",
        python("""
            import os
            made = 0
            try:
                while True:
                    if not os.fork(): os._exit(0)
                    made += 1
            except BlockingIOError: print(made)
        """),
        FEW,
        sees="19\n",
    ),
    Attack(
        "orphans-that-others-must-bury",
        c("""
            int main(void) {
                for (int i = 0; i < 400; i++) {
                    pid_t child = fork();
                    if (child == 0) { fork(); _exit(0); }
                    if (child < 0 || waitpid(child, NULL, 0) < 0) perror("fork");
                }
                puts("none is left over");
            }
        """),
        LIMITS.replace(processes=64),
        sees="none is left over\n",
    ),
    Attack(
        "programs-that-become-another-for-ever",
        bash('exec bash -c \'[ $SECONDS -lt 100 ] && exec bash -c "$0" "$0"\' \'exec bash -c "$0" "$0"\''),
        SHORT,
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "parent-that-waits-for-ever-in-vfork",
        c("int main(void) { if (vfork() == 0) for (;;) pause(); }"),
        SHORT,
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
]

DAEMONS = [
    Attack("daemon", bash("(setsid sleep 1000 &) & sleep 1000 & echo done"), sees="done\n"),
    Attack(
        "daemon-that-forks-twice-and-ignores-signals",
        python("""
            import os, signal, time
            read, write = os.pipe()
            if not os.fork():
                os.setsid()
                if os.fork(): os._exit(0)
                for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                    signal.signal(number, signal.SIG_IGN)
                os.write(write, b"alive")
                time.sleep(1000)
            print(os.read(read, 9))
        """),
        sees="b'alive'\n",
    ),
    Attack(
        "daemon-that-is-stopped",
        bash("""
            (setsid bash -c 'kill -STOP $$' &)
            while ! grep -qs 'State:.T' /proc/*/status; do :; done
            echo done
        """),
        sees="done\n",
    ),
    Attack("program-that-stops-itself", bash("kill -STOP $$"), SHORT, ends="SIGKILL", blamed="wall_time_s"),
    Attack(
        "program-that-stops-all-others",
        bash("sleep 1000 & kill -STOP -1; kill -STOP $$"),
        SHORT,
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "program-whose-first-thread-ends",
        c("""
            void *sleeper(void *_) { pause(); return _; }
            int main(void) {
                pthread_t thread;
                pthread_create(&thread, NULL, sleeper, NULL);
                pthread_exit(NULL);
            }
        """),
        SHORT,
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
]

ON_PID_1 = [
    Attack(
        "signals-to-pid-1",
        python("""
            import os, signal, time
            for _ in range(3):
                for number in range(1, 65): os.kill(1, number)
                time.sleep(0.01)
            signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGKILL)
            print("alive")
        """),
        sees="alive\n",
    ),
    Attack(
        "signals-to-everybody",
        bash("sleep 1000 & kill -KILL -1; wait; echo alone"),
        complains=r"\A\Z|Killed",
        sees="alone\n",
    ),
    Attack(
        "limits-of-pid-1",
        c("""
            int main(void) {
                struct rlimit none = {0, 0}, seen;
                for (int limit = 0; limit < 16; limit++)
                    if (!prlimit(1, limit, &none, NULL)) printf("%d ", limit);
                puts(strerrorname_np(errno));
                printf("%d\\n", prlimit(getpid(), RLIMIT_CORE, NULL, &seen));
                for (int i = 0; i < 200; i++) {
                    pid_t child = fork();
                    if (child == 0) { fork(); _exit(0); }
                    waitpid(child, NULL, 0);
                }
                puts("alive");
            }
        """),
        sees="EPERM\n0\nalive\n",
    ),
    Attack(
        "priority-of-pid-1",
        c("""
            int main(void) {
                struct sched_param none = {0};
                setpriority(PRIO_PROCESS, 1, 19);
                sched_setscheduler(1, SCHED_IDLE, &none);
                puts("done");
            }
        """),
        sees="done\n",
    ),
    Attack(
        "memory-and-files-of-pid-1",
        bash("""
            for file in cgroup cpuset task/1/cgroup cmdline environ mem maps auxv stack syscall io; do
                cat /proc/1/$file
            done
            for link in exe cwd root fd/0 ns/mnt; do readlink -v /proc/1/$link; done
            : > /proc/1/mem; ls /proc/1/fd
            cd /proc; echo [0-9]*; cat 2/comm; exec ps ax --no-headers -o comm,user
        """),
        complains=r"\A(.*No such file or directory\n){18}\Z",
        sees=re.compile(r"2\nbash\nps +1000\n"),
    ),
]


@each([*BOMBS, *DAEMONS, *ON_PID_1])
def test_attack(arena: Arena, attack: Attack) -> None:
    arena.face(attack)
