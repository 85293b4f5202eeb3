"""Restarts of a broker that has ended, without blocking the event loop while it starts."""

import asyncio
import logging
from pathlib import Path

from infra.kafka.embedded import EmbeddedKafka, KafkaStartError
from infra.supervisor import wait_for_room, write_pid
from topics.disk import DiskWatch

log = logging.getLogger(__name__)

_CHECK_S = 0.5


async def keep_alive(broker: EmbeddedKafka, pid_file: Path) -> None:
    """Restart a broker whenever it ends, until cancelled. Write its new process id to `pid_file`."""
    disk = DiskWatch.against_full(broker.data_dir, waiting="the start of the broker")
    while True:
        await asyncio.sleep(_CHECK_S)
        if not broker.running:
            log.warning("the broker has ended, restarting it")
            await wait_for_room(disk)
            try:
                await _start(broker, pid_file)
            except (KafkaStartError, OSError):
                log.exception("the broker cannot be restarted, trying again")


async def _start(broker: EmbeddedKafka, pid_file: Path) -> None:
    broker.launch()  # on the main thread: the kernel kills the broker when the thread that started it ends
    assert broker.process is not None
    write_pid(pid_file, broker.process.pid)
    await asyncio.to_thread(broker.wait_until_ready)
