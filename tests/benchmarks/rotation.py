"""Submissions of two owners that rotate over environments and limits, so that none is like the one before."""

import asyncio
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.benchmarks.http_load import Connection, answered, closed_loop, connections
from tests.benchmarks.load import PYTHON, BenchCluster, Job, settings, tree_of
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, encode
from topics.request.limits import MiB
from topics.security.api_keys import ApiKey, Scope, digest, new_id, new_key
from topics.times import now

OWNERS = 2
ENVIRONMENTS = (["python3"], ["python3", "bc"], ["python3", "jq"], ["python3", "lua5.4"])
LIMITS: tuple[dict[str, int], ...] = (
    {},
    {"memory_bytes": 512 * MiB},
    {"wall_time_s": 20, "processes": 32},
)
_WARMING = 4
"""Submissions at once meanwhile."""
_REQUESTS = OWNERS * len(ENVIRONMENTS) * len(LIMITS)
_SETTINGS = {"ENVICUTOR_HTTP_KEYS": "true"}


class RotationCluster(BenchCluster):
    """A system as `envicutor up` runs it, with API keys."""

    def __init__(self, **more: str) -> None:
        super().__init__(_SETTINGS | more, runs_on=True)
        self.keys = [new_key() for _ in range(OWNERS)]
        """Keys of the owners, once `prepare` was called."""

    async def prepare(self, warm_up_s: float) -> list[Path]:
        """Make the keys, build the environments and warm up; return the trees of the environments."""
        producer = EventProducer(self.kafka)
        for key in self.keys:
            known = ApiKey(id=new_id(), name="bench", scopes=tuple(Scope), created_at=now())
            await producer.publish(Record("api-keys", digest(key), encode(known), []))
        await asyncio.to_thread(producer.close)
        async with connections(self.http_port, _WARMING) as opened:
            await self._until_known(opened[0])
            jobs = self.jobs()
            ended = [await answered(opened[0], next(jobs)) for _ in range(2 * _REQUESTS)]
            await closed_loop([partial(self.one, connection, jobs) for connection in opened], warm_up_s)
        return sorted({tree_of(settings(), each) for each in ended})

    def jobs(self) -> Iterator[Job]:
        """Return an endless rotation of all requests; the order of each round is drawn."""
        rng = random.Random(0)
        every = [
            Job(
                {**PYTHON.request, "dependencies": {"packages": packages}, "limits": {"run": limits}},
                "ok",
                key,
            )
            for packages, limits, key in itertools.product(ENVIRONMENTS, LIMITS, self.keys)
        ]
        while True:
            rng.shuffle(every)
            yield from every

    def owned(self, job: Job) -> list[Job]:
        """Return a job of each owner."""
        return [replace(job, key=key) for key in self.keys]

    def owned_jobs(self, key: str) -> Iterator[Job]:
        """Return the rotation of one owner."""
        return (job for job in self.jobs() if job.key == key)

    async def wait_idle(self, connection: Connection) -> None:
        """Return when no submission is unfinished."""
        while True:
            body = json.loads((await connection.get("/system", self.keys[0])).body)
            if not sum(body["unfinished"].values()):
                return
            await asyncio.sleep(0.2)

    async def one(self, connection: Connection, jobs: Iterator[Job]) -> None:
        """Submit the next of `jobs`, and wait for its answer."""
        await answered(connection, next(jobs))

    async def _until_known(self, connection: Connection) -> None:
        while True:
            if (await connection.get("/submissions", self.keys[-1])).status == 200:
                return
            await asyncio.sleep(0.1)
