"""What a program makes the worker compute is bounded, and charged to it."""

import time
from pathlib import Path

import pytest

from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from processors.worker.compile_cache import CompileCache
from tests.system.hostile.attack import USER_MODE_LINUX
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash
from tests.system.sandbox.test_execute import once
from topics.request.files import File
from topics.request.limits import Limits, RunLimits
from topics.request.model import SubmissionRequest

pytestmark = pytest.mark.skipif(USER_MODE_LINUX, reason="times mean nothing in it")

WRITES_S = 1.5
SINGLE_BYTES = f"""
import fcntl, os, sys, time
fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | int(sys.argv[1]))
end, written = time.monotonic() + {WRITES_S}, 0
while time.monotonic() < end: written += os.write(1, b"x")
fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)  # then more of them are left at the end
for _ in range(200): written += os.write(1, b"x")
print(written, file=sys.stderr)
"""


@pytest.mark.parametrize("flag", [0o40000, 0], ids=["packets", "bytes"])
def test_single_bytes_cost_the_worker_little(laboratory: Laboratory, flag: int) -> None:
    """They take a tenth of the time at most in which the program writes them, and none is lost."""

    async def experiment(sandboxes: Sandboxes) -> tuple[Completed, float]:
        async with sandboxes.box({"main.py": SINGLE_BYTES.encode()}, LIMITS) as box:
            before_s = time.thread_time()
            done = await bash(box, f"exec python3 -ISB main.py {flag}", LIMITS.replace(stdout_bytes=4 << 20))
            return done, time.thread_time() - before_s

    done, spent_s = laboratory.run(experiment)
    assert (done.exit_code, done.limit_exceeded, done.truncated) == (0, None, False)
    assert done.stdout == b"x" * int(done.stderr)
    assert spent_s < WRITES_S / 10


def test_handling_output_is_paid_by_the_program(laboratory: Laboratory) -> None:
    def handle(_stream: str, _more: bytes) -> None:
        end_s = time.thread_time() + 0.3
        while time.thread_time() < end_s:
            pass

    async def experiment(sandboxes: Sandboxes) -> Completed:
        async with sandboxes.box({}, LIMITS) as box:
            return await box.run(Command(["echo", "x"], on_output=handle), Rootfs.of_host_tools(), LIMITS)

    done = laboratory.run(experiment)
    assert (done.stdout, done.limit_exceeded) == (b"x\n", None)
    assert 0.3 <= done.cpu_time_s < 0.4


HOLDERS = """
import os, resource, socket, time
for _ in range(30):
    if os.fork() == 0:
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]
        for each in sockets: each.bind(("127.0.0.1", 0))
        time.sleep(2)
        os._exit(0)
try:
    while True: os.wait()
except ChildProcessError: pass
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(sum(each.ru_utime + each.ru_stime for each in used))
"""


def test_observing_sockets_of_many_processes_is_paid_by_the_program(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> tuple[Completed, float]:
        async with sandboxes.box({"main.py": HOLDERS.encode()}, LIMITS) as box:
            before_s = time.thread_time()
            done = await bash(box, "exec python3 -ISB main.py")
            return done, time.thread_time() - before_s

    done, spent_s = laboratory.run(experiment)
    assert (done.exit_code, done.limit_exceeded) == (0, None)
    assert done.cpu_time_s - float(done.stdout) > spent_s / 2


TREE = """
import os
for number in range(200):
    os.mkdir(str(number))
    for each in range(50): os.mkdir(f"{number}/{each}")
"""


@pytest.mark.parametrize("cpu_time_s", [0.3, 10.0])
def test_searching_for_output_files_is_paid_by_the_submission(
    laboratory: Laboratory, tmp_path: Path, cpu_time_s: float
) -> None:
    request = SubmissionRequest(
        files=(File(name="tree.py", content=TREE),),
        run="exec python3 -ISB tree.py",
        outputs=tuple(f"**/{'a*' * 20}{number}/**/x" for number in range(31)),
        limits=Limits(run=RunLimits(cpu_time_s=cpu_time_s, box_files=12_000)),
    )

    async def experiment(sandboxes: Sandboxes) -> tuple[float, float]:
        before_s = time.process_time()
        (run,) = (await once(sandboxes, request, CompileCache(tmp_path, 0))).run
        assert (run.exit_code, run.limit_exceeded) == (0, None)
        return run.cpu_time_s, time.process_time() - before_s

    told_s, spent_s = laboratory.run(experiment)
    assert told_s > spent_s / 2
    assert told_s < cpu_time_s + 0.2
