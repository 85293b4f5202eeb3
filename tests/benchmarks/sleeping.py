"""A worker whose programs do nothing but sleep: `python -m tests.benchmarks.sleeping --slots 4`.

It pops, leases, commits and answers like any other, and waits instead of running `["sleep", SECONDS]`. So as
many can be measured side by side as a cluster has, on a machine that could run few.
"""

import asyncio
import logging
import signal
import sys
from typing import Annotated

import typer

from processors.queue import redistribution
from processors.queue.attempt import Attempt
from processors.queue.attempts import Attempts, WorkerIdentity, process_name
from processors.settings import WorkSettings
from topics.catalogue import catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.confluent import ConfluentClients
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Finished, HandedBack, Started
from topics.submissions.state import Work


class Sleeper:
    """The `JobExecutor` of its attempts."""

    def __init__(self, kafka: KafkaSettings, slots: int) -> None:
        settings = WorkSettings()
        self._name = process_name("bench", "0")
        self._producer = EventProducer(kafka)
        topics = catalogue(kafka)
        self._attempts = Attempts(
            self,
            Work,
            FACTS,
            WorkerIdentity(
                name=self._name,
                source=f"worker/{self._name}",
                slots=slots,
                lease_renewal_s=settings.lease_renewal_s,
                grace_s=0,
            ),
            clients=ConfluentClients(kafka),
            catalogue=topics,
            family=topics.submissions,
            queue_partitions=topics.submissions.queue.partitions(kafka.profile),
            producer=self._producer,
        )

    async def run(self) -> bool:
        """Work until SIGTERM."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._attempts.stop)
        ended_well = await self._attempts.run()
        self._producer.close()
        return ended_well

    def started(self, work: Work) -> Started:
        """The fact that this worker is at it."""
        return Started(attempt=work.attempt, worker=self._name)

    def handed_back(self, work: Work, reason: str, *, host_fault: bool) -> HandedBack:
        """The fact that another worker must do it."""
        return HandedBack(attempt=work.attempt, worker=self._name, reason=reason, host_fault=host_fault)

    def unpublishable(self, work: Work, reason: str) -> Finished:
        """Does not happen: answers are small."""
        raise RuntimeError(f"{work.id}: {reason}")

    def is_cancelled(self, work: Work) -> bool:
        """Nothing is cancelled."""
        return False

    async def execute(self, attempt: Attempt[Work]) -> None:
        """Sleep for as long as the program would."""
        run = attempt.work.request.run
        assert isinstance(run, tuple)
        await attempt.wait_until_allowed()
        async with attempt.slot():
            await asyncio.sleep(float(run[1]))
        end = Finished(
            attempt=attempt.work.attempt,
            worker=self._name,
            outcome="ok",
            dependencies=None,
            compile=None,
            run=(),
        )
        attempt.complete(end)


def main(
    slots: Annotated[int, typer.Option(min=1)] = 1,
    bound: Annotated[bool, typer.Option(help="Hand nothing back, to see what that is good for.")] = False,
) -> None:
    """Work as the environment says, like the roles."""
    if bound:
        redistribution.MAX_HOPS = 0
    logging.basicConfig(level=logging.WARNING)
    sys.exit(0 if asyncio.run(Sleeper(KafkaSettings(), slots).run()) else 1)


if __name__ == "__main__":
    typer.run(main)
