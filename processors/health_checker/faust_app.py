"""Faust app for health checkers: its settings, and a consumer that fetches in batches.

A fetch for each lease would cost more than all the rest of a short submission. Faust has no setting for the
size of fetches.
"""

from typing import Any

import faust
from faust.transport.drivers import aiokafka

from topics.kafka.clients import SASL_MECHANISM, ssl_context
from topics.settings import KafkaSettings

FETCH_BYTES = 1024 * 1024
FETCH_WAIT_MS = 500
"""Longest wait of a fetch for `FETCH_BYTES`. It delays no expiry by more: append times count, not arrival
times."""


def faust_app(kafka: KafkaSettings, name: str, partitions: int) -> faust.App:
    """Return an app whose consumer group is `name` and whose tables have `partitions` partitions."""
    session_s = kafka.session_timeout_ms / 1000
    data_dir = kafka.data_dir / "faust" / name
    data_dir.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        kafka.topic_prefix + name,
        broker=[f"kafka://{server}" for server in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        datadir=data_dir,
        store="memory://",
        web_enabled=False,
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 3,
        broker_rebalance_timeout=session_s,
        stream_wait_empty=False,
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=True,
        topic_partitions=partitions,
        topic_replication_factor=kafka.replication_factor,
    )
    app.transport = _Transport(app.conf.broker_consumer, app)
    return app


def _credentials(kafka: KafkaSettings) -> faust.SASLCredentials | None:
    if kafka.security_protocol == "PLAINTEXT":
        return None
    return faust.SASLCredentials(
        username=kafka.sasl_username,
        password=kafka.sasl_password,
        ssl_context=ssl_context(kafka),
        mechanism=SASL_MECHANISM,
    )


class _Thread(aiokafka.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = FETCH_BYTES, FETCH_WAIT_MS
        return consumer


class _Consumer(aiokafka.Consumer):
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Transport(aiokafka.Transport):
    Consumer = _Consumer
