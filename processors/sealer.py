"""Sealer: signs the records of the logs, so that an audit detects later alterations.

consumes  `submissions.events`, `dependencies.events`
produces  `audit.seals`: chained, signed digests of ranges of each partition

Only one sealer runs at a time: the transactional id fences an older one. Its open transaction is aborted
before the ends of the chains are read, so that no chain forks. Any fault ends the process, and the next one
continues the chains.
"""

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from processors.settings import SealerSettings
from topics.audit.seals import OffsetRange, Seal, fingerprint, make_seal_record
from topics.audit.signing import private_key
from topics.catalogue import SEALER_TRANSACTIONS, Catalogue
from topics.kafka.clients import (
    BATCH_FETCH,
    READER,
    consume_batch,
    consumer_config,
    producer_config,
)
from topics.kafka.codec import decode
from topics.kafka.liveness import with_liveness_check
from topics.kafka.records import position, usable
from topics.kafka.scan import partitions, read_to_end
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

SEALED_RECORDS = 1000
"""Records after which a range is sealed; one range has at most twice as many. An audit reports alterations by
range."""
_TIMEOUT_S = 30.0
"""Limit on all retries of a call to the broker together."""
_CALL_S = 1.0
"""Limit on one call of a client, after which the process checks whether it was asked to stop."""
_TRANSACTION_TIMEOUT_MS = 5000


class LogTruncatedError(Exception):
    """The log ends before the last sealed offset: it was truncated or replaced, so it is not sealed."""


class SealerStopped(Exception):  # noqa: N818 - not an error: a call waited
    """The process was asked to stop while it waited for the broker."""


class Sealer:
    """Process that seals all partitions of both topics of events."""

    def __init__(self, settings: KafkaSettings, catalogue: Catalogue, sealer: SealerSettings) -> None:
        self._settings, self._catalogue = settings, catalogue
        self._period_s = sealer.seal_period_s
        self._key = private_key(settings.data_dir)
        self._ranges: dict[tuple[str, int], OffsetRange] = {}
        self._previous: dict[tuple[str, int], str] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask `run` to return soon; may be called from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Seal until stopped.

        Raises:
            KafkaException: another sealer took over, or the broker did not answer; start the process again.
            LogTruncatedError: a log was truncated; an operator must examine it.
        """
        try:
            self._run()
        except SealerStopped:
            log.info("sealer: stopped while waiting for the broker")

    def _run(self) -> None:
        producer = self._producer()
        consumer = Consumer(with_liveness_check(consumer_config(self._settings, READER) | BATCH_FETCH))
        self._restore(consumer)
        consumer.assign(
            [TopicPartition(*of, open_range.first_offset) for of, open_range in self._ranges.items()]
        )
        topics = sorted({topic for topic, _ in self._ranges})
        log.info("sealer: sealing records of %s", ", ".join(topics))
        sealed_at = time.monotonic()
        try:
            while not self._stopping.is_set():
                self._read(consumer)
                whole = any(open_range.records >= SEALED_RECORDS for open_range in self._ranges.values())
                if whole or time.monotonic() - sealed_at >= self._period_s:
                    self._seal(producer)
                    sealed_at = time.monotonic()
        finally:
            consumer.close()

    def _producer(self) -> Producer:
        config = producer_config(self._settings, message_timeout_ms=_TRANSACTION_TIMEOUT_MS) | {
            "transactional.id": self._settings.topic_prefix + SEALER_TRANSACTIONS,
            "transaction.timeout.ms": _TRANSACTION_TIMEOUT_MS,
        }
        producer = Producer(config)
        self._retrying(lambda: producer.init_transactions(_CALL_S))
        return producer

    def _retrying(self, call: Callable[[], None]) -> None:
        """Repeat a call while its error is retriable, for up to `_TIMEOUT_S`.

        Raises:
            KafkaException: the call failed, or the broker did not answer.
            SealerStopped: the process was asked to stop.
        """
        deadline = time.monotonic() + _TIMEOUT_S
        while not self._stopping.is_set():
            try:
                return call()
            except KafkaException as exception:
                error = exception.args[0]
                may_retry = error.retriable() and not error.txn_requires_abort() and not error.fatal()
                if not may_retry or time.monotonic() > deadline:
                    raise
        raise SealerStopped

    def _restore(self, consumer: Consumer) -> None:
        """Read from the topic of seals the offset up to which each partition is sealed."""
        for topic in (self._catalogue.submissions.events.name, self._catalogue.dependencies.events.name):
            for partition in partitions(consumer, topic):
                self._ranges[topic, partition] = OffsetRange(0)
        for message in read_to_end(self._settings, self._catalogue.seals.name):
            self._extend_chain(decode(Seal, message.value()), message.value())

    def _extend_chain(self, seal: Seal, value: str | bytes | None) -> None:
        self._ranges[seal.topic, seal.partition] = OffsetRange(seal.next_offset)
        self._previous[seal.topic, seal.partition] = fingerprint(value)

    def _read(self, consumer: Consumer) -> None:
        for message in usable(consume_batch(consumer, SEALED_RECORDS, 0.2), "sealer"):
            partition, offset = position(message)
            open_range = self._ranges[message.topic() or "", partition]
            # librdkafka starts at the beginning if the offset to continue from does not exist any more.
            if offset < open_range.next_offset:
                raise LogTruncatedError(f"{message.topic()}/{partition} ends before {open_range.next_offset}")
            open_range.add(message)

    def _seal(self, producer: Producer) -> None:
        """Seal all records that were read, in one transaction."""
        seals = [
            open_range.seal(*of, self._previous.get(of, ""))
            for of, open_range in self._ranges.items()
            if open_range.records
        ]
        if not seals:
            return
        topic = self._catalogue.seals.name
        records = [(seal, make_seal_record(topic, seal, self._key, "sealer")) for seal in seals]
        producer.begin_transaction()
        for _, record in records:
            producer.produce(record.topic, record.value, record.key, headers=record.headers)
        self._retrying(lambda: producer.commit_transaction(_CALL_S))
        for seal, record in records:
            self._extend_chain(seal, record.value)
