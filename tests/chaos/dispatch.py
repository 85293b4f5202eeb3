"""Kills of ingest between the two records of a dispatch: a request is on the log, its work is not queued."""

import asyncio
import os
import random
import signal
import time
from contextlib import suppress

from confluent_kafka import Message

from tests.chaos.faults import Fault
from tests.system.cluster.running import Cluster
from topics.kafka.tail import Tail, end

INGEST = "ingest-0"
_ONE_IN = 3
"""Of so many requests that are to be dispatched one kills ingest: else none would be accepted."""


async def kill_between_records(cluster: Cluster, seed: str, happened: list[Fault]) -> None:
    """Kill ingest as soon as the log has a request that it is to dispatch, until this is cancelled."""
    rng = random.Random(f"{seed}/dispatch")

    def take(messages: list[Message]) -> None:
        is_due = any(b'"dispatch":"direct"' in (message.value() or b"") for message in messages)
        if is_due and rng.randrange(_ONE_IN) == 0:
            with suppress(ProcessLookupError, FileNotFoundError):  # it is being started again
                os.kill(cluster.pid(INGEST), signal.SIGKILL)
                happened.append(Fault(time.time(), "between", INGEST))

    tail = Tail(cluster.kafka, cluster.topics.submissions.events.name, take, start_at=end)
    await tail.start()
    try:
        await asyncio.Event().wait()
    finally:
        await tail.close()
