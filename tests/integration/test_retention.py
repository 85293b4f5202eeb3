"""For how long topics keep what stands on them, at a real broker."""

from dataclasses import replace
from functools import partial
from operator import eq

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from tests.support.polling import eventually
from topics.catalogue import catalogue
from topics.kafka.admin import TopicMismatchError, ensure_topics
from topics.kafka.clients import connection
from topics.request.limits import MiB
from topics.settings import KafkaSettings
from topics.topic import DAY_MS, FOR_EVER


def test_a_start_applies_what_was_changed_meanwhile(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    admin = AdminClient(connection(settings))

    def kept_ms() -> int | None:
        resource = ConfigResource(ConfigResource.Type.TOPIC, catalogue(settings).submissions.events.name)
        [config] = admin.describe_configs([resource]).values()
        try:
            return int(config.result()["retention.ms"].value)
        except KafkaException as error:  # the broker has not heard of the topic yet
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            return None

    def wait_kept(for_ms: int) -> None:
        what = f"the broker learns {for_ms} from the controller"
        eventually(kept_ms, what, enough=partial(eq, for_ms))

    shorter = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, retention_days={"submissions.events": 30}
    )
    for changed, for_ms in ((settings, FOR_EVER), (shorter, 30 * DAY_MS), (settings, FOR_EVER)):
        ensure_topics(changed, catalogue(changed).topics())
        wait_kept(for_ms)


def test_a_start_applies_sizes_and_compression_to_topics_that_exist(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    admin = AdminClient(connection(settings))
    requests = catalogue(settings).requests
    before = replace(requests, max_message_bytes=17 * MiB)
    after = replace(requests, max_message_bytes=2 * MiB, compression="producer")

    def found() -> tuple[str, str] | None:
        [config] = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, requests.name)]).values()
        try:
            entries = config.result()
        except KafkaException as error:  # the broker has not heard of the topic yet
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            return None
        return entries["max.message.bytes"].value, entries["compression.type"].value

    for topic in (before, after):
        ensure_topics(settings, (topic,))
        eventually(
            found,
            "the settings of the topic",
            enough=partial(eq, (str(topic.max_message_bytes), topic.compression)),
        )


def test_a_queue_of_a_share_group_is_refused_with_what_to_do(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    queue = catalogue(settings).submissions.queue
    ensure_topics(settings, (replace(queue, local_partitions=1),))
    admin = AdminClient(connection(settings))
    # The controller answers first.
    eventually(lambda: queue.name in admin.list_topics(timeout=30).topics, "the queue")
    with pytest.raises(TopicMismatchError, match=r"ENVICUTOR_QUEUE=share, which was removed; start with"):
        ensure_topics(settings, (queue,))
