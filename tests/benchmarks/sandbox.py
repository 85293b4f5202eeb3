"""How quickly the sandbox ends what is over a limit, what it costs, and what it lets neighbours feel."""

import asyncio
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.commands.output import print_note
from processors.sandbox import Box, Command, Completed, Rootfs, Sandboxes, SandboxSettings
from processors.sandbox.mounts import mounts_below
from tests.benchmarks import whole_machine
from tests.benchmarks.measuring import (
    Samples,
    Summary,
    interleaved,
    kept,
    milliseconds,
    print_table,
    write_results,
)
from topics.request.limits import KiB, MiB, RunLimits

AIM_S = 0.15
"""From a limit to the last process gone."""
FIRST_UID = 1_940_000_000
ATTACK = {"attack.py": Path(__file__).with_name("attack.py").read_bytes()}
HIT: Mapping[str, float] = {
    "wall_time_s": 0.3,
    "cpu_time_s": 0.3,
    "memory_bytes": 64 * MiB,
    "stdout_bytes": 64 * KiB,
}
"""The limits that are run into."""
LARGE_BOX = {f"{n % 20}/{n}": bytes([1]) * 50_000 for n in range(1000)}
ROOMY = RunLimits(wall_time_s=30, cpu_time_s=30)
DYING = RunLimits(wall_time_s=5)
"""The default limits, with enough time to fill them with processes that take long to die."""

PLAIN, BUBBLEWRAP, SANDBOX = "fork and exec", "bubblewrap alone", "box and run"
NEIGHBOUR = ["python3", "-ISc", "for _ in range(100): sum(range(100_000))"]
ATTACKS: Mapping[str, tuple[str, RunLimits]] = {
    "busy processes": ("for n in $(seq 60); do while :; do :; done & done; wait", ROOMY),
    "fork bomb": ("bomb() { bomb | bomb & }; while :; do bomb; done 2>/dev/null", ROOMY),
    "memory": ("while :; do head --bytes=60M /dev/zero | tail --bytes=60M > /dev/null; done", ROOMY),
    "full box": ("while :; do head --bytes=30M /dev/zero > $RANDOM || rm -f *; done 2>/dev/null", ROOMY),
    "many files": ("while :; do for n in $(seq 2000); do : > f$n; done; rm -f f*; done", ROOMY),
    "flood of output": ("cat /dev/zero", ROOMY),
}
"""Scripts that go on until they are ended, or are started again."""


def measure(rounds: int) -> None:
    """Measure everything, print it, write it."""
    console = Console(width=100)
    with own_settings() as settings:
        found, groups = asyncio.run(_measure(settings, rounds, console))
        left = leftovers(settings, groups)
    print_table(console, "leftovers", ["what", "number"], [[name, str(n)] for name, n in left.items()])
    print_note(f"wrote {write_results('sandbox', {**found, 'leftovers': left})}")


async def _measure(
    settings: SandboxSettings, rounds: int, console: Console
) -> tuple[dict[str, Any], list[Path]]:
    """Measure in turn; returns what was found, and the control groups in which that was."""
    sandboxes = Sandboxes(settings)
    await sandboxes.start()
    notes = [note.read_text().splitlines() for note in settings.state_dir.glob("*/groups")]
    groups = [Path(path) for note in notes for path in note]
    try:
        print_note("from a limit to the last process gone")
        ending = await interleaved(
            {
                f"{limit}, {'one process' if shape == 'alone' else 'fork bomb'}": partial(
                    _time_to_end, sandboxes, limit, shape
                )
                for limit in HIT
                for shape in ("alone", "bomb")
            },
            rounds,
        )
        dying = await interleaved(
            {"30 processes, 60,000 mappings each": partial(_time_to_die, sandboxes)}, rounds
        )
        _print_ending(console, ending | dying)
        print_note("what each layer costs")
        layers = await interleaved(_layers(sandboxes), rounds * 5)
        cpu = await interleaved(_cpu_of(_layers(sandboxes)), rounds * 5)
        _print_layers(console, layers, cpu)
        print_note("what a run costs the whole machine")
        machine = await _whole_machine(sandboxes, rounds)
        _print_machine(console, machine)
        print_note("what a neighbour feels")
        neighbours = {name: await _beside(sandboxes, name, rounds) for name in ATTACKS}
        _print_neighbours(console, neighbours)
    finally:
        await sandboxes.close()
    found = {
        "ending_s": kept(ending),
        "dying_s": kept(dying),
        "layers_s": kept(layers),
        "layers_cpu_s": kept(cpu),
        "whole_machine_cpu_s": kept(machine),
        "neighbour_s": _kept_pairs(neighbours),
    }
    return found, groups


# -- from a limit to the last process gone ---------------------------------------------------------


async def _time_to_end(sandboxes: Sandboxes, limit: str, shape: str) -> float:
    """How long after it hit a limit nothing is left of a stage, in seconds."""
    limits = ROOMY.replace(**{limit: HIT[limit]})
    done, ended = await _run_into(sandboxes, limit, limits, shape)
    return ended - _hit(limit, done, ended)


async def _time_to_die(sandboxes: Sandboxes) -> float:
    """The same for processes of the default limits that the kernel takes long to take down."""
    done, ended = await _run_into(sandboxes, "wall_time_s", DYING, "mapped")
    return ended - _stamps(done)[0] - DYING.wall_time_s


async def _run_into(
    sandboxes: Sandboxes, limit: str, limits: RunLimits, shape: str
) -> tuple[Completed, float]:
    """Run a program into a limit; returns its result, and when, since the epoch, nothing of it was left."""
    value = getattr(limits, limit)
    script = f"echo at $EPOCHREALTIME; exec python3 -ISB attack.py {limit} {value} {shape}"
    async with sandboxes.box(ATTACK, limits) as box:
        done = await _bash(box, script, limits)
        ended = time.time()
    if done.limit_exceeded != limit:
        raise RuntimeError(f"{limit}, {shape}: ended by {done.limit_exceeded}: {done.stderr[-500:]!r}")
    return done, ended


def _hit(limit: str, done: Completed, ended: float) -> float:
    """When a limit was hit, in seconds since the epoch."""
    if limit == "wall_time_s":
        return _stamps(done)[0] + HIT[limit]
    if limit == "cpu_time_s":  # so much too much was used, as quickly as all of it
        return ended - (done.cpu_time_s - HIT[limit]) * done.wall_time_s / done.cpu_time_s
    return _stamps(done)[-1]


def _stamps(done: Completed) -> list[float]:
    """What it printed of times, in seconds since the epoch; the first when it began."""
    return [float(stamp) for stamp in re.findall(rb"at ([0-9.]+)\n", done.stdout)]


def _print_ending(console: Console, samples: Samples) -> None:
    summaries = {name: Summary.of(taken) for name, taken in samples.items()}
    rows = [[name, milliseconds(s.p50), milliseconds(s.max)] for name, s in summaries.items()]
    title = f"from a limit to the last process gone (aim: {AIM_S * 1000:.0f} ms)"
    print_table(console, title, ["limit", "p50", "max"], rows)


# -- what each layer costs -------------------------------------------------------------------------


def _layers(sandboxes: Sandboxes) -> dict[str, Callable[[], Awaitable[float]]]:
    usr = Rootfs.of_host_tools()
    links = [word for link, text in usr.symlinks.items() for word in ("--symlink", text, link)]
    mounts = ["--ro-bind", "/usr", "/usr", *links, "--proc", "/proc", "--dev", "/dev"]
    return {
        PLAIN: partial(_spawn, ["true"]),
        BUBBLEWRAP: partial(_spawn, ["bwrap", "--unshare-all", *mounts, "true"]),
        "box": partial(_box, sandboxes),
        "fork of a box": partial(_fork, sandboxes, {}),
        "fork of 1,000 files, 50 MB": partial(_fork, sandboxes, LARGE_BOX),
        "run in a box, prepared": partial(_run, sandboxes),
        "run in a box, not prepared": partial(_run_again, sandboxes),
        SANDBOX: partial(_box_and_run, sandboxes),
        "box, fork and run": partial(_everything, sandboxes),
    }


def _cpu_of(
    layers: Mapping[str, Callable[[], Awaitable[float]]],
) -> dict[str, Callable[[], Awaitable[float]]]:
    """What they cost this process, and the children that it reaped."""

    async def cpu_s(layer: Callable[[], Awaitable[float]]) -> float:
        before = _cpu_s()
        await layer()
        return _cpu_s() - before

    # Bubblewrap does not reap all that it starts.
    return {name: partial(cpu_s, layer) for name, layer in layers.items() if name != BUBBLEWRAP}


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


async def _spawn(argv: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(argv, check=True)  # noqa: ASYNC221 - nothing else runs
    return time.perf_counter() - started


async def _box(sandboxes: Sandboxes) -> float:
    started = time.perf_counter()
    async with sandboxes.box({}, ROOMY):
        pass
    return time.perf_counter() - started


async def _fork(sandboxes: Sandboxes, files: Mapping[str, bytes]) -> float:
    async with sandboxes.box(files, ROOMY) as box:
        started = time.perf_counter()
        async with box.fork(ROOMY):
            pass
        return time.perf_counter() - started


async def _run(sandboxes: Sandboxes) -> float:
    while not sandboxes.prepared_uids:  # noqa: ASYNC110 - nothing tells that one is there
        await asyncio.sleep(0.001)
    async with sandboxes.box({}, ROOMY) as box:
        started = time.perf_counter()
        await box.run(Command(["true"]), Rootfs.of_host_tools(), ROOMY)
        return time.perf_counter() - started


async def _run_again(sandboxes: Sandboxes) -> float:
    """The second run in a box, whose sandbox is not prepared."""
    async with sandboxes.box({}, ROOMY) as box:
        await box.run(Command(["true"]), Rootfs.of_host_tools(), ROOMY)
        started = time.perf_counter()
        await box.run(Command(["true"]), Rootfs.of_host_tools(), ROOMY)
        return time.perf_counter() - started


async def _box_and_run(sandboxes: Sandboxes) -> float:
    """As a submission of one test case, with nothing to compile."""
    started = time.perf_counter()
    async with sandboxes.box({}, ROOMY) as box:
        box.make_room(ROOMY)
        await box.run(Command(["true"]), Rootfs.of_host_tools(), ROOMY)
    return time.perf_counter() - started


async def _everything(sandboxes: Sandboxes) -> float:
    started = time.perf_counter()
    async with sandboxes.box({}, ROOMY) as box, box.fork(ROOMY) as fork:
        await fork.run(Command(["true"]), Rootfs.of_host_tools(), ROOMY)
    return time.perf_counter() - started


def _print_layers(console: Console, samples: Samples, cpu: Samples) -> None:
    summaries = {name: Summary.of(taken) for name, taken in samples.items()}
    bare = summaries[PLAIN].p50
    rows = [
        [
            name,
            milliseconds(s.p50),
            milliseconds(s.max),
            f"{s.p50 / bare:.1f}",
            milliseconds(Summary.of(cpu[name]).p50) if name in cpu else "",
        ]
        for name, s in summaries.items()
    ]
    columns = ["layer", "p50", "max", "times fork and exec", "CPU time, p50"]
    print_table(console, "what each layer costs", columns, rows)


# -- what a run costs the whole machine ------------------------------------------------------------


async def _whole_machine(sandboxes: Sandboxes, rounds: int) -> Samples:
    layers = _layers(sandboxes)
    with whole_machine.control_groups() as use_groups:
        variants: dict[str, whole_machine.Run] = {
            **{name: layers[name] for name in (PLAIN, BUBBLEWRAP, SANDBOX)},
            **whole_machine.layers(),
            "control groups": use_groups,
            "fork of this process": whole_machine.fork,
            "+ system call filter": partial(whole_machine.install_filter, whole_machine.read_filter()),
        }
        return await whole_machine.blocks(variants, rounds)


def _print_machine(console: Console, samples: Samples) -> None:
    p50_s = {name: Summary.of(taken).p50 for name, taken in samples.items()}
    beyond_plain = (p50_s[SANDBOX] - p50_s[PLAIN]) / (p50_s[BUBBLEWRAP] - p50_s[PLAIN])
    print_note(
        f"beyond {PLAIN}, a sandbox with its box, limits and pipes costs {beyond_plain:.2f} of bubblewrap"
    )
    rows = [[name, f"{value_s * 1000:.2f} ms"] for name, value_s in p50_s.items()]
    print_table(console, "CPU time of the whole machine for a run", ["what", "p50"], rows)


# -- what a neighbour feels ------------------------------------------------------------------------


async def _beside(sandboxes: Sandboxes, attack: str, rounds: int) -> Samples:
    """Wall times of the same program, alone and beside an attack, in turn."""
    return await interleaved(
        {"alone": partial(_neighbour, sandboxes), "beside": partial(_neighbour_of, sandboxes, attack)}, rounds
    )


async def _neighbour(sandboxes: Sandboxes) -> float:
    async with sandboxes.box({}, ROOMY) as box:
        return (await box.run(Command(NEIGHBOUR), Rootfs.of_host_tools(), ROOMY)).wall_time_s


async def _neighbour_of(sandboxes: Sandboxes, attack: str) -> float:
    attacking = asyncio.create_task(_attack(sandboxes, *ATTACKS[attack]))
    await asyncio.sleep(0.2)  # so that it is under way
    try:
        return await _neighbour(sandboxes)
    finally:
        attacking.cancel()
        with suppress(asyncio.CancelledError):
            await attacking


async def _attack(sandboxes: Sandboxes, script: str, limits: RunLimits) -> None:
    while True:
        async with sandboxes.box({}, limits) as box:
            await _bash(box, script, limits)


def _print_neighbours(console: Console, found: Mapping[str, Samples]) -> None:
    rows = []
    for attack, samples in found.items():
        alone, beside = Summary.of(samples["alone"]), Summary.of(samples["beside"])
        rows.append(
            [attack, milliseconds(alone.p50), milliseconds(beside.p50), f"{beside.p50 / alone.p50:.2f}"]
        )
    title = f"what a neighbour feels, on {os.cpu_count()} CPUs"
    print_table(console, title, ["attack", "alone, p50", "beside it, p50", "times"], rows)


# -- helpers ---------------------------------------------------------------------------------------


async def _bash(box: Box, script: str, limits: RunLimits) -> Completed:
    return await box.run(Command(["bash", "-c", script]), Rootfs.of_host_tools(), limits)


@contextmanager
def own_settings() -> Iterator[SandboxSettings]:
    """A folder and user ids that no worker has."""
    state_dir = Path(tempfile.mkdtemp(prefix="envicutor-bench-"))
    state_dir.chmod(0o711)
    try:
        yield SandboxSettings(state_dir=state_dir, first_uid=FIRST_UID)
    finally:
        shutil.rmtree(state_dir)


def leftovers(settings: SandboxSettings, groups: Sequence[Path]) -> dict[str, int]:
    """How many things are there that should be gone."""
    uids = range(settings.first_uid, settings.first_uid + settings.boxes)
    files = [path for path in settings.state_dir.glob("*/*") if path.name != "lock"]
    return {
        "processes": sum(1 for process in Path("/proc").glob("[1-9]*") if _uid(process) in uids),
        "mounts": len(mounts_below(settings.state_dir)),
        "control groups": sum(1 for group in groups if group.exists()),
        "files": len(files),
    }


def _uid(process: Path) -> int:
    try:
        return process.stat().st_uid
    except FileNotFoundError:
        return -1


def _kept_pairs(found: Mapping[str, Samples]) -> dict[str, Any]:
    return {name: kept(samples) for name, samples in found.items()}
