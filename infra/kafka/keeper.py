"""Keeping a broker alive, without standing in the way of what else runs on the event loop."""

import asyncio
import logging
from pathlib import Path

from infra.kafka.embedded import EmbeddedKafka, KafkaStartError
from infra.supervisor import write_pid

log = logging.getLogger(__name__)

_CHECK_S = 0.5


async def keep_alive(broker: EmbeddedKafka, pid_file: Path) -> None:
    """Start a broker again whenever it ends, for ever; `pid_file` says which process it is then."""
    while True:
        await asyncio.sleep(_CHECK_S)
        if not broker.running:
            log.warning("the broker ended, starting it again")
            try:
                await _start(broker, pid_file)
            except (KafkaStartError, OSError):
                log.exception("the broker does not start, trying again")


async def _start(broker: EmbeddedKafka, pid_file: Path) -> None:
    broker.launch()  # on this thread: the broker dies with the one that started it
    assert broker.process is not None
    write_pid(pid_file, broker.process.pid)
    await asyncio.to_thread(broker.wait_until_ready)
