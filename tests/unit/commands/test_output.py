"""The text that commands print of a failure."""

from confluent_kafka import KafkaError, KafkaException

from infra.commands.output import reason


def test_a_kafka_error_has_its_text_alone() -> None:
    error = KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT, "message timed out"))
    assert reason(error) == "message timed out"


def test_an_os_error_names_its_file() -> None:
    assert reason(FileNotFoundError(2, "No such file or directory", "key.pem")) == (
        "key.pem: No such file or directory"
    )
