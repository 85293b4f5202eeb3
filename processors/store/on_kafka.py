"""A store processor on Kafka and disk, with its watchdog."""

from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Message

from processors.store.partition import StoreDefinition
from processors.store.processor import StorePorts, StoreProcessor
from processors.store.states import States
from processors.store.watchdog import Watchdog
from topics.kafka.clients import EventProducer
from topics.kafka.confluent import ConfluentConsumer, ConfluentFollower
from topics.kafka.confluent_reader import ConfluentReader
from topics.kafka.confluent_transactions import ConfluentTransactionalProducer
from topics.kafka.ports import LoopClock
from topics.kafka.replies import ReplyTopics
from topics.settings import KafkaSettings

TRANSACTION_TIMEOUT_MS = 5000
"""Time for which consumers cannot read past a killed process's transaction, unless it restarts sooner."""


class StoreOnKafka:
    """One instance of a store; `slot` distinguishes the instances, and stays the same across restarts."""

    def __init__(self, settings: KafkaSettings, store: StoreDefinition, slot: str) -> None:
        """Connect an instance, which keeps its rows below the data folder."""
        topics, instance = store.aggregate.family, f"{store.name}-{slot}"
        self._watchdog = Watchdog(store.name)
        self._rows = Rows(settings.data_dir / "views" / instance)
        # What is late waits again, before another process may have the partition.
        timeout_ms = settings.session_timeout_ms // 3
        self._queue = EventProducer(settings, message_timeout_ms=timeout_ms) if store.takes_turns else None

        def follow_slots(take: Callable[[list[Message]], None]) -> ConfluentFollower:
            return ConfluentFollower(settings, topics.slots.name, take, from_beginning=False)

        ports = StorePorts(
            consumer=ConfluentConsumer(
                settings, store.name, topics.events.name, instance=f"{settings.topic_prefix}{instance}"
            ),
            producer=ConfluentTransactionalProducer(settings, instance, TRANSACTION_TIMEOUT_MS),
            reader=ConfluentReader(settings, topics.store.name),
            replies=ReplyTopics(settings, store.catalogue),
            clock=LoopClock(),
            make_states=self._rows.make,
            follow_slots=follow_slots if store.takes_turns else None,
            queue=self._queue,
        )
        self._processor = StoreProcessor(
            store,
            ports,
            topics.queue.partitions(settings.profile),
            topics.events.partitions(settings.profile),
            member_s=settings.session_timeout_ms / 3000,
            on_progress=self._watchdog.progress,
        )
        self.stop = self._processor.stop

    async def run(self) -> None:
        """Fold until stopped.

        Raises:
            KafkaException: the consumer failed; the process must be started again.
        """
        self._watchdog.start()
        try:
            await self._processor.run()
        finally:
            self._watchdog.stop()
            if self._queue:
                self._queue.close()
            self._rows.close()


class Rows:
    """Databases of the assigned partitions below one folder, which this instance alone uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._states: dict[int, States] = {}

    def make(self, partition: int) -> States:
        """Return an empty database; that of an earlier assignment is removed."""
        if (earlier := self._states.pop(partition, None)) is not None:
            earlier.close()
        self._states[partition] = States(self._folder / str(partition))
        return self._states[partition]

    def close(self) -> None:
        """Close the databases and remove their files."""
        for states in self._states.values():
            states.close()
