"""Creation of topics; topics that differ from the catalogue are refused."""

import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewTopic

from topics.kafka.clients import SHORT_LIVED, connection
from topics.settings import KafkaSettings
from topics.topic import Topic

_CHANGEABLE = ("retention.ms", "max.message.bytes", "compression.type")
"""Settings of a topic that are also changed on existing topics; partition counts cannot be changed."""

_ASK_AGAIN_S = 0.05
"""Time between two questions for the leaders of new partitions."""


class TopicMismatchError(Exception):
    """A topic exists with another partition count than the catalogue's."""


def ensure_topics(settings: KafkaSettings, topics: tuple[Topic, ...], timeout_s: float = 30.0) -> None:
    """Create the topics that are missing; give the others the catalogue's retention, sizes and compression.

    The broker knows leaders of all partitions of the topics that were missing when this returns.

    Raises:
        TopicMismatchError: a partition count differs; it is fixed at creation.
        KafkaException: the broker refused a change, did not answer within `timeout_s`, or knows no leader.
    """
    admin = AdminClient(connection(settings) | SHORT_LIVED)
    existing = admin.list_topics(timeout=timeout_s).topics
    for topic in topics:
        if topic.name in existing:
            found, wanted = len(existing[topic.name].partitions), topic.partitions(settings.profile)
            if found != wanted:
                raise TopicMismatchError(
                    f"{topic.name} has {found} partitions, profile {settings.profile!r} wants {wanted}: "
                    + _remedy(topic, found)
                )
    missing = [_new_topic(settings, topic) for topic in topics if topic.name not in existing]
    futures = admin.create_topics(missing, operation_timeout=timeout_s) if missing else {}
    for future in futures.values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another start was first
                raise
    _put_config(admin, [topic for topic in topics if topic.name in existing], timeout_s)
    if missing:
        _await_leaders(admin, [topic.topic for topic in missing], timeout_s)


def _remedy(topic: Topic, found: int) -> str:
    """Return what an operator can do about a topic that has another partition count, `found`."""
    if topic.trimmed and found == 1:
        return (
            "a queue of one partition was made with ENVICUTOR_QUEUE=share, which was removed; "
            "start with a new data folder or another ENVICUTOR_TOPIC_PREFIX"
        )
    return "it is fixed at creation, use the profile that it was made with"


def _await_leaders(admin: AdminClient, names: list[str], timeout_s: float) -> None:
    """Wait until the broker knows a leader of each partition, which it learns from the controller."""
    deadline = time.monotonic() + timeout_s
    while True:
        listed = admin.list_topics(timeout=timeout_s).topics
        partitions = [listed[name].partitions.values() if name in listed else () for name in names]
        if all(of_one and all(p.leader >= 0 for p in of_one) for of_one in partitions):
            return
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        time.sleep(_ASK_AGAIN_S)


def _put_config(admin: AdminClient, topics: list[Topic], timeout_s: float) -> None:
    """Set what differs from the catalogue of the settings that may change after creation."""
    wanted = {ConfigResource(ConfigResource.Type.TOPIC, topic.name): topic.config() for topic in topics}
    found = admin.describe_configs(list(wanted), request_timeout=timeout_s) if wanted else {}
    changed = []
    for resource, future in found.items():
        entries = future.result()
        different = [name for name in _CHANGEABLE if entries[name].value != wanted[resource][name]]
        for name in different:
            value, operation = wanted[resource][name], AlterConfigOpType.SET
            resource.add_incremental_config(ConfigEntry(name, value, incremental_operation=operation))
        if different:
            changed.append(resource)
    futures = admin.incremental_alter_configs(changed, request_timeout=timeout_s) if changed else {}
    for future in futures.values():
        future.result()


def _new_topic(settings: KafkaSettings, topic: Topic) -> NewTopic:
    return NewTopic(
        topic.name,
        topic.partitions(settings.profile),
        settings.replication_factor,
        config=topic.config(),
    )
