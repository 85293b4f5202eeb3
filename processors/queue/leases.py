"""Leases: saying, again and again, that an attempt is being worked on (rule 4)."""

import asyncio
from concurrent.futures import Future

from confluent_kafka import Message

from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, encode
from topics.leases import Lease


class LeaseKeeper:
    """Takes, renews and releases the leases of one process; `worker` names this very process."""

    def __init__(self, producer: EventProducer, topic: str, worker: str, renewal_s: float) -> None:
        self._producer, self._topic, self._worker = producer, topic, worker
        self._renewal_s = renewal_s
        self._held: dict[tuple[str, int], Future[Message]] = {}
        """What is held, with the acknowledgement of the last that was said of it."""

    def take(self, id: str, attempt: int) -> "Future[Message]":
        """Take a lease; it is held from the moment that the returned future is done."""
        said = self._held[id, attempt] = self._say("taken", id, attempt)
        return said

    def release(self, id: str, attempt: int) -> None:
        """Let go, if it is held, only after what became of the attempt has been acknowledged."""
        if self._held.pop((id, attempt), None):
            self._say("released", id, attempt)

    async def keep(self) -> None:
        """Renew everything that is held, for ever.

        While the broker is away one renewal of each waits, not one a second: else the client's queue would
        fill, and with it full the event loop would stand still.
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
