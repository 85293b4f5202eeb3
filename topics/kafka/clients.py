"""Kafka clients with the settings that were measured to matter.

`partitioner`: librdkafka's default is CRC32, Java's and Faust's murmur2; co-partitioned topics need
one. `retry.backoff.ms`: a transaction with offsets takes 106 ms with the default, 4 with this.
"""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from topics.kafka.codec import Record
from topics.kafka.liveness import BrokersLostError, with_liveness_check
from topics.process import crash
from topics.settings import MAX_MESSAGE_BYTES, KafkaSettings

log = logging.getLogger(__name__)

FETCH_BYTES = MAX_MESSAGE_BYTES + 2 * 1024 * 1024
"""Largest fetch of one partition: above the largest record, so that each record can be fetched."""

_LEAVE_S, _LEAVE_POLL_S = 2.0, 0.1
"""Longest wait for the last rebalance when a member leaves its group, and the timeout of each poll."""

SASL_MECHANISM = "SCRAM-SHA-512"
"""How users of the broker authenticate: SCRAM does not send the password."""


READER = "reader"
"""Group id of consumers that assign partitions themselves and commit nothing; librdkafka requires one."""


BATCH_FETCH: dict[str, Any] = {"fetch.min.bytes": 1024 * 1024, "fetch.wait.max.ms": 500}
"""Settings of consumers without latency requirements: fetch every 500 ms or 1 MiB.

A fetch for each record as it is appended would cost the broker as much as a consumer that needs it at once.
"""


SHORT_LIVED: dict[str, Any] = {"reconnect.backoff.ms": 50}
"""Settings of a client that is closed after a few requests.

librdkafka waits for half of `reconnect.backoff.ms` before its first connection, too.
"""


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return the settings by which every client connects to the brokers, and connects again."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "reconnect.backoff.max.ms": 1000,
        # After a broker's restart a client may keep a stale leader epoch until it refreshes its metadata.
        "topic.metadata.refresh.interval.ms": 5000,
        # By default a client whose only broker is away bootstraps, and logs, 20 times a second.
        "reconnect.backoff.ms": 1000,
        # librdkafka would write each failure of each client to standard error, ten lines a second. Failures
        # are raised, and `with_liveness_check` logs when brokers are lost and found.
        "log_level": 0,
    } | _credentials(settings)


def _credentials(settings: KafkaSettings) -> dict[str, Any]:
    if settings.security_protocol == "PLAINTEXT":
        return {}
    authority = {"ssl.ca.location": str(settings.ssl_ca_file)} if settings.ssl_ca_file else {}
    own = str(settings.ssl_certificate_file)
    shown = (
        {"ssl.certificate.location": own, "ssl.key.location": own} if settings.ssl_certificate_file else {}
    )
    return (
        authority
        | shown
        | {
            "security.protocol": settings.security_protocol,
            "sasl.mechanism": SASL_MECHANISM,
            "sasl.username": settings.sasl_username,
            "sasl.password": settings.sasl_password,
        }
    )


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """Return the TLS settings of clients that do not use librdkafka.

    Raises:
        OSError: a file of a certificate cannot be read.
    """
    context = ssl.create_default_context(cafile=settings.ssl_ca_file)
    if settings.ssl_certificate_file:
        context.load_cert_chain(settings.ssl_certificate_file)
    return context


def producer_config(settings: KafkaSettings, *, message_timeout_ms: int) -> dict[str, Any]:
    """Return the settings of an idempotent producer. With `message_timeout_ms` 0 it retries for ever."""
    return connection(settings) | {
        "enable.idempotence": True,
        "message.timeout.ms": message_timeout_ms,
        "partitioner": "murmur2_random",
        "linger.ms": 0,
        "retry.backoff.ms": 2,
        "message.max.bytes": FETCH_BYTES,
        "compression.type": "lz4",
    }


def consumer_config(settings: KafkaSettings, group: str) -> dict[str, Any]:
    """Return the settings of a consumer in `group`.

    It commits explicitly, reads committed records, and starts at the beginning.
    """
    return connection(settings) | {
        "group.id": settings.topic_prefix + group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": max(200, settings.session_timeout_ms // 6),
        "partition.assignment.strategy": "cooperative-sticky",
        "fetch.message.max.bytes": FETCH_BYTES,
        "fetch.max.bytes": 2 * FETCH_BYTES,
        "receive.message.max.bytes": 3 * FETCH_BYTES,
    }


def consume_batch(consumer: Consumer, max_records: int, timeout_s: float) -> list[Message]:
    """Return the available records, at most `max_records`; wait up to `timeout_s` for the first only.

    `Consumer.consume` would wait the whole timeout for all of them.
    """
    first = consumer.poll(timeout_s)
    if first is None:
        return []
    return [first, *consumer.consume(max_records - 1, 0)] if max_records > 1 else [first]


def leave(consumer: Consumer, *, is_static: bool = False) -> None:
    """Leave the group and close the consumer. Records that arrive meanwhile are dropped and not committed.

    A static member (`is_static`) keeps its partitions for the session timeout, so it does not unsubscribe.

    The last rebalance is polled for before `close`. If `close` of librdkafka 2.16 serves it while no broker
    is reachable, its callback asks for the rebalance protocol and waits for ever, holding Python's
    interpreter lock.
    """
    if not is_static:
        consumer.unsubscribe()
    deadline = time.monotonic() + _LEAVE_S
    with suppress(BrokersLostError):
        consumer.poll(_LEAVE_POLL_S)
        while not is_static and consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(_LEAVE_POLL_S)
    consumer.close()


def is_fatal(error: KafkaError) -> bool:
    """Return whether the client is unusable.

    For a fenced static member `error.fatal()` is False, so the code is checked, too.
    """
    return bool(error.fatal() or error.code() == KafkaError._FATAL)


def _crash_if_fatal(error: KafkaError) -> None:
    """End the process after a fatal error, after which a producer refuses every record (KIP-360)."""
    if is_fatal(error):
        crash(f"a producer had a fatal error: {error}")


class PauseControl:
    """Pause of a group member that cannot take records; it goes on polling, which answers rebalances."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._on = False

    def on_assign(self, _consumer: Consumer, _assigned: list[TopicPartition]) -> None:
        """Note that partitions may be paused; to be the callback of the subscription.

        librdkafka keeps a partition paused that was lost while it was paused.
        """
        self._on = True

    def pause(self) -> None:
        """Pause all partitions. Call it before each poll, as partitions may have been assigned since."""
        self._consumer.pause(self._consumer.assignment())
        self._on = True

    def release(self) -> None:
        """Resume all partitions, if they may be paused."""
        if self._on:
            self._consumer.resume(self._consumer.assignment())
            self._on = False


@dataclass(frozen=True, eq=False, slots=True)
class _Delivery:
    """A record that the broker has not acknowledged yet."""

    record: Record
    partition: int
    report: Callable[[Message | KafkaException], None]
    """Callback with the acknowledged record or the error, called in the poll thread."""


def _settle(future: "Future[Message] | asyncio.Future[Message]", became: Message | KafkaException) -> None:
    if future.done():  # the waiting task was cancelled
        return
    if isinstance(became, KafkaException):
        future.set_exception(became)
    else:
        future.set_result(became)


class EventProducer:
    """A producer with a poll thread, so that a delivery report takes well under a millisecond.

    (`AIOProducer` of confluent-kafka 2.16 waits up to 100 ms for a report.)
    """

    def __init__(self, settings: KafkaSettings, *, message_timeout_ms: int = 0) -> None:
        self._config = producer_config(settings, message_timeout_ms=message_timeout_ms)
        self._producer = Producer(with_liveness_check(self._config))
        self._unacknowledged: set[_Delivery] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="producer-poll", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    self._producer.poll(0.1)
                except BrokersLostError as error:
                    self._recreate(error)
        except Exception:
            log.exception("the poll thread of a producer failed")
            crash("delivery reports cannot be read any more")

    def produce(self, record: Record, *, partition: int = -1) -> "Future[Message]":
        """Hand a record to the client; the future has the delivery report.

        The future has a KafkaException if the record was not delivered within `message_timeout_ms`, or
        cannot be delivered.
        """
        future: Future[Message] = Future()
        future.set_running_or_notify_cancel()  # a cancelled task must not cancel the report
        self._deliver(_Delivery(record, partition, partial(_settle, future)))
        return future

    def _deliver(self, delivery: "_Delivery") -> None:
        self._unacknowledged.add(delivery)
        self._hand_over(delivery)

    def _hand_over(self, delivery: "_Delivery") -> None:
        record = delivery.record

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                _crash_if_fatal(error)
            self._report(delivery, KafkaException(error) if error is not None else message)

        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    delivery.partition,
                    on_delivery=delivered,
                    headers=record.headers,
                )
            except BufferError:  # the local queue is full: wait for room
                time.sleep(0.05)
            except KafkaException as error:  # such as a record that is too large
                _crash_if_fatal(error.args[0])
                self._report(delivery, error)
                return
            else:
                return

    def _report(self, delivery: "_Delivery", became: Message | KafkaException) -> None:
        try:
            self._unacknowledged.remove(delivery)
        except KeyError:  # another thread reported it while the producer was replaced
            return
        delivery.report(became)

    def _recreate(self, why: BrokersLostError) -> None:
        """Replace the client. Records that the old one delivered but did not report are delivered twice."""
        log.warning("recreating a producer: %s", why)
        self._producer = Producer(with_liveness_check(self._config))
        for delivery in tuple(self._unacknowledged):
            self._hand_over(delivery)

    @property
    def unacknowledged(self) -> int:
        """Number of records that the broker has not acknowledged."""
        return len(self._unacknowledged)

    def publish(self, record: Record, *, partition: int = -1) -> "asyncio.Future[Message]":
        """Hand a record to the client; the future, of the running event loop, has the delivery report.

        See `produce` for errors. The report crosses from the poll thread to the event loop once;
        `asyncio.wrap_future` of `produce` would double the cost.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()

        def report(became: Message | KafkaException) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, became)

        self._deliver(_Delivery(record, partition, report))
        return future

    def close(self, timeout_s: float = 5.0) -> None:
        """Send the records of the local queue, for at most `timeout_s`, and stop the poll thread."""
        with suppress(BrokersLostError):
            self._producer.flush(timeout_s)
        self._closing.set()
        self._thread.join()
