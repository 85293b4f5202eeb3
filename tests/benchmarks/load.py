"""Submissions for benchmarks: one that runs Python, and one whose way is the same but for the sandbox."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from infra.commands.output import print_note
from infra.local import LocalCluster
from infra.settings import LocalSettings
from infra.supervisor import Program
from processors.sandbox.settings import BOXES_OF_A_SLOT
from tests.benchmarks import no_op

PROGRAM = ("/usr/bin/python3", "-c", "print(1)")
DATA_DIR = Path("/var/lib/envicutor-bench")
ANSWER_S = 600.0
"""How long an answer may take, with what must be built for it, on a slow machine."""
WAIT_S = 30
_RESPONSE_S = WAIT_S + 10
"""How long any one response may take; httpx waits for 5 s by default."""


def settings(*, runs_on: bool = False) -> LocalSettings:
    """A system of its own, beside any other; what it built is kept for the next run."""
    return LocalSettings(data_dir=DATA_DIR, http_port=0, kafka_port=0, log_level="WARNING", runs_on=runs_on)


def slots_env(slots: int) -> dict[str, str]:
    """Return settings of a worker with this many slots, and a box for a program and a checker in each."""
    return {"ENVICUTOR_WORKER_SLOTS": str(slots), "ENVICUTOR_SANDBOX_BOXES": str(BOXES_OF_A_SLOT * slots)}


class BenchCluster(LocalCluster):
    """A system whose worker can leave the sandbox out, and marks what it does; `more` are settings of all."""

    def __init__(self, more: Mapping[str, str] = MappingProxyType({}), *, runs_on: bool = False) -> None:
        super().__init__(settings(runs_on=runs_on), print_note)
        self.marks = DATA_DIR / "marks"
        self._more = {no_op.MARKS: str(self.marks), **more}

    def _programs(self, user: str | None) -> Iterator[Program]:
        self.marks.write_text("")
        for program in super()._programs(user):
            if program.name.startswith("worker-"):
                argv = [no_op.__name__ if word == "infra.cli" else word for word in program.argv]
            else:
                argv = [*program.argv]
            yield replace(program, argv=argv, env={**program.env, **self._more})


@dataclass(frozen=True, slots=True)
class Job:
    """A request, and what it must end as."""

    request: Mapping[str, Any]
    outcome: str
    key: str = ""
    """API key of its owner, if the system needs one."""


PYTHON = Job({"run": PROGRAM, "dependencies": {"packages": ["python3"]}}, "ok")
NO_OP = Job({**PYTHON.request, "files": [{"name": no_op.NO_OP, "content": ""}]}, "ok")
"""Every event and topic takes part, the sandbox does not."""


async def answer(http: httpx.AsyncClient, job: Job) -> dict[str, Any]:
    """Submit and wait; raises RuntimeError where it does not end as it must."""
    params = {"wait": "true", "wait_timeout_s": str(WAIT_S)}
    response = await http.post("/submissions", params=params, json=job.request, timeout=_RESPONSE_S)
    body: dict[str, Any] = response.json()
    deadline = time.monotonic() + ANSWER_S
    while body.get("status") not in (None, "finished") and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        body = (await http.get(f"/submissions/{body['id']}", timeout=_RESPONSE_S)).json()
    if body.get("outcome") != job.outcome:
        raise RuntimeError(f"expected {job.outcome}: {body}")
    return body


def tree_of(cluster_settings: LocalSettings, answered: Mapping[str, Any]) -> Path:
    """Where the environment of an answer is on this host."""
    store_path: str = answered["dependencies"]["store_path"]
    return cluster_settings.data_dir / "nix" / store_path.removeprefix("/")


async def warm_up(cluster: LocalCluster, submissions: int) -> dict[str, Any]:
    """Build what is needed, and have a fresh JVM compile itself; the last answer of `PYTHON`."""
    async with httpx.AsyncClient(base_url=cluster.url, trust_env=False) as http:
        answered = await answer(http, PYTHON)
        await answer(http, NO_OP)
        for _ in range(submissions):
            await asyncio.gather(answer(http, PYTHON), answer(http, NO_OP))
    return answered
