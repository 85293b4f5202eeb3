"""Leases: records that repeatedly confirm that a process runs an attempt (rule 4)."""

import asyncio

from confluent_kafka import Message

from topics.kafka.codec import Record, cloud_event, encode
from topics.kafka.ports import Producer
from topics.leases import Lease


class LeaseKeeper:
    """Leases of one process, which are taken, renewed and released; `worker` names the process."""

    def __init__(self, producer: Producer, topic: str, worker: str, renewal_s: float) -> None:
        self._producer, self._topic, self._worker = producer, topic, worker
        self._renewal_s = renewal_s
        self._held: dict[tuple[str, int], asyncio.Future[Message]] = {}
        """Leases by id and attempt, each with the acknowledgement of its last record."""

    def take(self, id: str, attempt: int) -> "asyncio.Future[Message]":
        """Take a lease, unless it is held; it is held as soon as the returned future is done."""
        if (id, attempt) not in self._held:
            self._held[id, attempt] = self._producer.publish(self._record("taken", id, attempt))
        return self._held[id, attempt]

    def release(self, id: str, attempt: int) -> None:
        """Release a lease, if it is held; the end of the attempt must be acknowledged before."""
        if self._held.pop((id, attempt), None):
            self._producer.produce(self._record("released", id, attempt))

    async def keep(self) -> None:
        """Renew all leases that are held, for ever.

        While the broker is not reachable, one renewal of each lease waits, and no more are produced.
        Otherwise the client's queue would fill, and a full queue would block the event loop.
        """
        while True:
            await asyncio.sleep(self._renewal_s)
            for (id, attempt), acknowledged in tuple(self._held.items()):
                if acknowledged.done():
                    renewal = self._producer.publish(self._record("renewed", id, attempt))
                    self._held[id, attempt] = renewal

    def _record(self, kind: str, id: str, attempt: int) -> Record:
        lease = Lease.model_validate({"kind": kind, "id": id, "attempt": attempt, "worker": self._worker})
        headers = cloud_event(
            f"envicutor.lease.{kind}.v1", f"{self._worker}/{id}/{attempt}", id, self._worker
        )
        return Record(self._topic, id.encode(), encode(lease), headers)
