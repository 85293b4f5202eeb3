"""What a program makes the worker compute is bounded, and charged to it."""

import time
from pathlib import Path

import pytest

from processors.sandbox import Completed, Sandboxes
from processors.worker.compile_cache import CompileCache
from tests.system.hostile.attack import USER_MODE_LINUX
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash
from tests.system.sandbox.test_execute import once
from topics.request.limits import Limits, RunLimits
from topics.request.model import File, SubmissionRequest

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
