"""Leases: records that repeatedly confirm that a process runs an attempt (rule 4)."""

import asyncio
from concurrent.futures import Future

from confluent_kafka import Message

from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, encode
from topics.leases import Lease


class LeaseKeeper:
    """Leases of one process, which are taken, renewed and released; `worker` names the process."""

    def __init__(self, producer: EventProducer, topic: str, worker: str, renewal_s: float) -> None:
        self._producer, self._topic, self._worker = producer, topic, worker
        self._renewal_s = renewal_s
        self._held: dict[tuple[str, int], Future[Message]] = {}
        """Leases by id and attempt, each with the acknowledgement of its last record."""

    def take(self, id: str, attempt: int) -> "Future[Message]":
        """Take a lease, which is held as soon as the returned future is done."""
        said = self._held[id, attempt] = self._say("taken", id, attempt)
        return said

    def release(self, id: str, attempt: int) -> None:
        """Release a lease, if it is held; the end of the attempt must be acknowledged before."""
        if self._held.pop((id, attempt), None):
            self._say("released", id, attempt)

    async def keep(self) -> None:
        """Renew all leases that are held, for ever.

        While the broker is not reachable, one renewal of each lease waits, and no more are produced.
        Otherwise the client's queue would fill, and a full queue would block the event loop.
        """
        while True:
            await asyncio.sleep(self._renewal_s)
            for (id, attempt), said in tuple(self._held.items()):
                if said.done():
                    self._held[id, attempt] = self._say("renewed", id, attempt)

    def _say(self, kind: str, id: str, attempt: int) -> "Future[Message]":
        lease = Lease.model_validate({"kind": kind, "id": id, "attempt": attempt, "worker": self._worker})
        headers = cloud_event(
            f"envicutor.lease.{kind}.v1", f"{self._worker}/{id}/{attempt}", id, self._worker
        )
        return self._producer.produce(Record(self._topic, id.encode(), encode(lease), headers))
