"""Using up time, and evading those who measure it."""

from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import LIMITS, Attack, bash, c, each, python

BUSY = LIMITS.replace(cpu_time_s=0.5, cpus=2)

LOOPS = [
    Attack("busy-loop", bash("while :; do :; done"), BUSY, ends="SIGKILL", blamed="cpu_time_s"),
    Attack(
        "busy-loops-in-many-processes",
        bash("for i in {1..20}; do (while :; do :; done) & done; wait"),
        BUSY,
        ends="SIGKILL",
        blamed="cpu_time_s",
    ),
    Attack(
        "busy-loops-in-many-threads",
        c("""
            void *loop(void *_) { for (;;) __asm__ volatile(""); return _; }
            int main(void) {
                pthread_t thread;
                for (int i = 0; i < 20; i++) pthread_create(&thread, NULL, loop, NULL);
                pause();
            }
        """),
        BUSY,
        ends="SIGKILL",
        blamed="cpu_time_s",
    ),
    Attack(
        "time-of-processes-that-live-shortly",
        bash("while :; do /bin/true; done"),
        BUSY,
        ends="SIGKILL",
        blamed="cpu_time_s",
    ),
    Attack(
        "time-of-the-kernel",
        python("import os\nwhile True: os.getrandom(1 << 20)"),
        BUSY,
        ends="SIGKILL",
        blamed="cpu_time_s",
    ),
    Attack(
        "busy-daemon-of-a-program-that-sleeps",
        bash("(setsid bash -c 'trap \"\" XCPU TERM; while :; do :; done' &); sleep 1000"),
        BUSY,
        ends="SIGKILL",
        blamed="cpu_time_s",
    ),
    Attack(
        "signals-that-tell-of-the-limit-are-ignored",
        c("""
            int main(void) {
                sigset_t all;
                sigfillset(&all);
                sigprocmask(SIG_BLOCK, &all, NULL);
                for (;;) __asm__ volatile("");
            }
        """),
        BUSY,
        ends="SIGKILL",
        blamed="cpu_time_s",
    ),
    Attack(
        "sleeping-between-looks",
        c("""
            int main(void) { for (;;) { for (volatile int i = 0; i < 100000; i++); usleep(100); } }
        """),
        BUSY,
        ends="SIGKILL",
        blamed="cpu_time_s",
    ),
]

PATIENCE = [
    Attack(
        "sleep", bash("sleep 1000"), LIMITS.replace(wall_time_s=0.3), ends="SIGKILL", blamed="wall_time_s"
    ),
    Attack(
        "processes-that-take-long-to-die",
        c("""
            int main(void) {
                int file = open("x", O_CREAT | O_RDWR, 0600);
                int rights = PROT_READ | PROT_WRITE, how = MAP_SHARED | MAP_POPULATE;
                if (ftruncate(file, 8192)) return 1;
                for (long i = 0; i < 60000; i++)  /* two pages by turns, or mappings would become one */
                    if (mmap(NULL, 4096, rights, how, file, i % 2 * 4096) == MAP_FAILED) return 2;
                for (int i = 0; i < 6; i++) if (fork() == 0) break;
                pause();
            }
        """),
        LIMITS.replace(wall_time_s=2),
        ends="SIGKILL",
        blamed="wall_time_s",
    ),
    Attack(
        "clocks-and-priorities",
        c("""
            static void tell(const char *what, int result) {
                printf("%s %s\\n", what, result ? strerrorname_np(errno) : "done");
            }
            int main(void) {
                struct timespec then = {1, 0};
                struct sched_param first = {1}, none = {0};
                struct rlimit more = {100, 200};
                tell("clock", clock_settime(CLOCK_REALTIME, &then));
                tell("fifo", sched_setscheduler(0, SCHED_FIFO, &first));
                tell("nice", setpriority(PRIO_PROCESS, 0, -1));
                tell("limit", setrlimit(RLIMIT_CPU, &more));
                tell("idle", sched_setscheduler(0, SCHED_IDLE, &none));
            }
        """),
        sees="clock EPERM\nfifo EPERM\nnice EACCES\nlimit EPERM\nidle done\n",
    ),
]


@each([*LOOPS, *PATIENCE])
def test_attack(arena: Arena, attack: Attack) -> None:
    arena.face(attack)
