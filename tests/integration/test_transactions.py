"""What a broker says of a transaction that is open, and of one that is over."""

from confluent_kafka import KafkaError, KafkaException, Producer

from processors.store.transactions import StableAndEnd, read_ends
from tests.support.polling import eventually
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import producer_config
from topics.settings import KafkaSettings

DEADLINE_S = 30.0


def test_no_transaction_may_be_open_for_longer_than_five_minutes(kafka: str, topic_prefix: str) -> None:
    """So long it holds back what others produce to the same partition."""

    def refusal(timeout_ms: int) -> int | None:
        config = {
            "bootstrap.servers": kafka,
            "transactional.id": f"{topic_prefix}{timeout_ms}",
            "transaction.timeout.ms": timeout_ms,
        }
        try:
            Producer(config).init_transactions(DEADLINE_S)
        except KafkaException as error:
            return int(error.args[0].code())
        return None

    assert refusal(300_000) is None
    assert refusal(300_001) == KafkaError.INVALID_TRANSACTION_TIMEOUT


def test_the_ends_differ_while_a_transaction_is_open(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    store = catalogue(settings).submissions.store
    ensure_topics(settings, (store,))
    transactional = {"transactional.id": f"{topic_prefix}open"}
    producer = Producer(producer_config(settings, message_timeout_ms=10_000) | transactional)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(store.name, b"{}", b"id", 0)
    producer.flush(30)
    assert read_ends(settings, store.name, 1) == {0: StableAndEnd(0, 1)}
    producer.commit_transaction(30)
    eventually(
        lambda: read_ends(settings, store.name, 1),
        "the marker comes a moment later",
        enough=lambda ends: ends == {0: StableAndEnd(2, 2)},
    )
