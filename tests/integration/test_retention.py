"""For how long topics keep what stands on them, at a real broker."""

from confluent_kafka.admin import AdminClient, ConfigResource

from topics.admin import ensure_topics
from topics.catalogue import DAY_MS, FOR_EVER, catalogue
from topics.clients import connection
from topics.settings import KafkaSettings


def test_a_start_applies_what_was_changed_meanwhile(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    admin = AdminClient(connection(settings))

    def kept_ms(settings: KafkaSettings) -> int:
        topics = catalogue(settings)
        ensure_topics(settings, topics.topics())
        resource = ConfigResource(ConfigResource.Type.TOPIC, topics.submissions.events.name)
        [config] = admin.describe_configs([resource]).values()
        return int(config.result()["retention.ms"].value)

    shorter = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, retention_days={"submissions.events": 30}
    )
    assert [kept_ms(settings), kept_ms(shorter), kept_ms(settings)] == [FOR_EVER, 30 * DAY_MS, FOR_EVER]
