"""Programs that are started again, whatever happened."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.supervisor import Program, Supervisor
from tests.support.polling import until

DEADLINE_S = 30.0


@asynccontextmanager
async def supervised(program: Path, pid_dir: Path) -> AsyncIterator[None]:
    supervisor = Supervisor(pid_dir)
    supervisor.start(Program("program", [str(program)], {"PATH": "/usr/bin:/bin"}))
    try:
        yield
    finally:
        await supervisor.stop(DEADLINE_S)


def script(path: Path, says: Path, then: str) -> None:
    path.write_text(f"#!/bin/sh\necho started >> {says}\n{then}\n")
    path.chmod(0o755)


def starts(says: Path) -> int:
    return len(says.read_text().splitlines()) if says.exists() else 0


def test_a_program_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    program, says = tmp_path / "program", tmp_path / "says"

    async def test() -> None:
        async with supervised(program, tmp_path):
            await asyncio.sleep(0.05)  # the first try has failed by now, or the second finds it
            script(program, says, "exec sleep 60")
            await until(lambda: starts(says) == 1)
            await until((tmp_path / "program.pid").exists)
        assert not (tmp_path / "program.pid").exists()

    asyncio.run(test())


def test_a_program_whose_process_id_cannot_be_written_is_kept_all_the_same(tmp_path: Path) -> None:
    program, says = tmp_path / "program", tmp_path / "says"
    script(program, says, "exit 1")

    async def test() -> None:
        async with supervised(program, tmp_path / "missing"):
            await until(lambda: starts(says) >= 2)

    asyncio.run(test())
