"""More than one limit hit, and more than one attack at a time."""

import asyncio

from processors.sandbox import Command, Completed, Rootfs
from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import LIMITS, MIB, USER_MODE_LINUX, Attack, each, python
from tests.system.hostile.test_memory import HOARDERS
from tests.system.hostile.test_output import FLOODS
from tests.system.hostile.test_processes import BOMBS
from tests.system.hostile.test_time import LOOPS, PATIENCE

HOARD = "x = bytearray(1 << 30)"
FORK = "import os\nwhile True:\n  try: os.fork() or os._exit(0)\n  except OSError: break\n"
TIGHT = LIMITS.replace(memory_bytes=48 * MIB, stdout_bytes=1000, processes=8, box_bytes=MIB)

TWO_LIMITS = [
    Attack(
        "output-then-memory",
        python(f"import time\nprint('x' * 1000, flush=True); time.sleep(9)\n{HOARD}"),
        TIGHT,
        sees="x" * 1000,
        ends="SIGKILL",
        blamed="stdout_bytes",
    ),
    Attack(
        "memory-then-output",
        python(f"import time\n{HOARD}\ntime.sleep(9); print('x' * 1000)"),
        TIGHT,
        ends="SIGKILL",
        blamed="memory_bytes",
    ),
    Attack(
        "processes-then-time",
        python(f"{FORK}print('refused', flush=True)\nwhile True: pass"),
        TIGHT.replace(cpu_time_s=1.0),
        sees="refused\n",
        ends="SIGKILL",
        blamed="cpu_time_s",
    ),
    Attack(
        "box-then-memory",
        python(f"try: open('x', 'wb').write(bytes(2 << 20))\nexcept OSError: print('full')\n{HOARD}"),
        TIGHT,
        sees=None,
        ends="SIGKILL",
        blamed="memory_bytes",
    ),
    Attack(
        "box-then-processes",
        python(
            "try: open('x', 'wb').write(bytes(2 << 20))\nexcept OSError: print('full', flush=True)\n"
            f"{FORK}raise SystemExit(3)"
        ),
        TIGHT,
        sees="full\n",
        ends=3,
        blamed="processes",  # of two that only refuse the box, which may have been emptied, comes last
    ),
]


@each(TWO_LIMITS)
def test_the_first_limit_is_blamed(arena: Arena, attack: Attack) -> None:
    arena.face(attack)


def test_many_attacks_at_once_are_their_own_fault(arena: Arena) -> None:
    """However busy the machine, none becomes an error of the host's, and each is blamed for what it did."""
    attacks = [*HOARDERS[:8], *FLOODS[:4], *BOMBS[:8], *LOOPS[:4], *PATIENCE]
    if USER_MODE_LINUX:  # it has one processor, and runs beside other tests
        attacks = attacks[::2]

    async def run(attack: Attack) -> Completed:
        async with arena.sandboxes.box(attack.program.files(), attack.limits) as box:
            command = Command(attack.program.argv, stdin=attack.stdin)
            return await box.run(command, Rootfs.of_host_tools(), attack.limits)

    async def run_all() -> list[Completed]:
        return await asyncio.gather(*map(run, attacks))

    done = arena.loop.run(run_all())
    told = {
        attack.name: (end.signal or end.exit_code, end.limit_exceeded)
        for attack, end in zip(attacks, done, strict=True)
    }
    assert told == {attack.name: (attack.ends, attack.blamed) for attack in attacks}
