"""What happens to processes, drawn from a seed: kill -9, SIGTERM, pauses, and standstills of their host."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from os import kill
from typing import Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.standstill import FREEZERS, family, frozen, launchers, stopped
from tests.system.cluster.running import Cluster

Kind = Literal["kill", "pause", "end", "standstill", "freeze", "poison", "between"]
KINDS: tuple[Kind, ...] = (
    *("kill", "pause", "end", "standstill"),
    *(("freeze",) if FREEZERS.exists() else ()),
)
LASTS_S = {"pause": (11.0, 24.0), "standstill": (2.0, 6.0), "freeze": (2.0, 6.0)}
"""Leases: 10 s, sessions: 6 s, transactions: 5 s, the watchdog: 20 s. A pause is longer than all of these. A
standstill is shorter than a lease, so that the worker itself must notice it."""
_BETWEEN_S = (1.5, 4.0)
_BETWEEN_BROKERS_S = (4.0, 10.0)
_WHOLE_S = 120.0
"""Ten times what a broker needs to catch up."""


@dataclass(frozen=True)
class Fault:
    """One thing that happened."""

    at_s: float
    """Seconds since the epoch, as the log's times are."""
    kind: Kind
    target: str
    """Such as worker-1."""

    @property
    def role(self) -> str:
        """Without the instance."""
        return self.target.rsplit("-", 1)[0]


class Faults:
    """Draws and inflicts them; `happened` tells."""

    def __init__(self, cluster: Cluster, seed: str, targets: Sequence[str], kinds: Sequence[Kind]) -> None:
        self._cluster, self._seed, self._kinds = cluster, seed, kinds
        self._roles = [target for target in targets if not target.startswith("broker-")]
        self._brokers = [target for target in targets if target.startswith("broker-")]
        self._paused: dict[str, ExitStack] = {}
        self._wakers: set[asyncio.Task[None]] = set()
        self.happened: list[Fault] = []

    @property
    def counts(self) -> Counter[str]:
        """By kind and role."""
        return Counter(f"{fault.kind} {fault.role}" for fault in self.happened)

    async def inflict(self) -> None:
        """Until it is cancelled; then nobody is paused any more."""
        try:
            await asyncio.gather(self._on_roles(), self._on_brokers())
        finally:
            for waker in self._wakers:
                waker.cancel()
            for target in tuple(self._paused):
                self._wake(target)

    async def _on_roles(self) -> None:
        rng = random.Random(f"{self._seed}/roles")
        workers = [target for target in self._roles if target.startswith("worker-")]
        while self._roles:
            await asyncio.sleep(rng.uniform(*_BETWEEN_S))
            kind = rng.choice(self._kinds)
            target = rng.choice(workers if kind in {"standstill", "freeze"} and workers else self._roles)
            lasts_s = rng.uniform(*LASTS_S.get(kind, (0, 0)))
            if target not in self._paused:
                self._inflict(kind, target, lasts_s)

    async def _on_brokers(self) -> None:
        rng = random.Random(f"{self._seed}/brokers")
        while self._brokers:
            await asyncio.sleep(rng.uniform(*_BETWEEN_BROKERS_S))
            target, kind = rng.choice(self._brokers), rng.choice(self._kinds)
            lasts_s = rng.uniform(*LASTS_S.get(kind, (2, 2)))
            self._inflict(kind, target, lasts_s)
            await asyncio.sleep(lasts_s)
            await asyncio.to_thread(wait_whole, self._cluster)

    def _inflict(self, kind: Kind, target: str, lasts_s: float) -> None:
        with suppress(ProcessLookupError, FileNotFoundError):  # it is being started again
            pid = self._cluster.pid(target)
            match kind:
                case "kill":
                    kill(pid, signal.SIGKILL)
                case "end":
                    kill(pid, signal.SIGTERM)
                case _:
                    self._pause(kind, target, pid, lasts_s)
            self.happened.append(Fault(time.time(), kind, target))

    def _pause(self, kind: Kind, target: str, pid: int, lasts_s: float) -> None:
        self._paused[target] = pause = ExitStack()
        match kind:
            case "pause":
                pause.enter_context(stopped([pid]))
            case "standstill":
                pause.enter_context(stopped(launchers(pid)))
            case _:
                pause.enter_context(frozen(family(pid)))
        waker = asyncio.create_task(self._wake_later(target, lasts_s))
        self._wakers.add(waker)
        waker.add_done_callback(self._wakers.discard)

    async def _wake_later(self, target: str, lasts_s: float) -> None:
        await asyncio.sleep(lasts_s)
        self._wake(target)

    def _wake(self, target: str) -> None:
        self._paused.pop(target).close()


def wait_whole(cluster: Cluster) -> None:
    """Wait until all brokers have everything again, so that losing another one is survived."""
    admin = AdminClient({"bootstrap.servers": cluster.kafka.bootstrap_servers, "log_level": 0})
    deadline = time.monotonic() + _WHOLE_S
    while time.monotonic() < deadline:
        with suppress(KafkaException):
            topics = admin.list_topics(timeout=5).topics.values()
            partitions = [partition for topic in topics for partition in topic.partitions.values()]
            if all(set(partition.isrs) == set(partition.replicas) for partition in partitions):
                return
        time.sleep(0.5)
    raise AssertionError(f"the brokers do not replicate everything after {_WHOLE_S} s")
