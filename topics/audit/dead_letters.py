"""Dead letters, records that could not be decoded or accepted: their description and their retry."""

import base64
from collections.abc import Iterator
from typing import Literal

from confluent_kafka import Message

from topics.catalogue import Catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.codec import DeadLetter, DecodeError, Record, decode_dead_letter
from topics.kafka.scan import read_to_end
from topics.model import Model
from topics.settings import KafkaSettings
from topics.times import rfc3339

_TIMEOUT_MS = 30_000


class NotRetriableError(Exception):
    """The dead letter must not be produced again; the message has the reason and the remedy."""


class Bytes(Model):
    """Bytes in JSON: text if they are UTF-8, else base64."""

    content: str
    encoding: Literal["utf8", "base64"]


class Header(Model):
    """One header of a Kafka record."""

    name: str
    value: Bytes | None


class DescribedDeadLetter(Model):
    """A record of `dead-letters`, as operators see it."""

    letter: str
    """Position on `dead-letters`: `partition/offset`."""
    time: str
    """Append time of the dead letter: RFC 3339, UTC."""
    origin: str
    """Position of the original record: `topic/partition/offset`."""
    reason: str
    key: Bytes | None
    headers: tuple[Header, ...]
    """Headers of the original record."""
    value: Bytes | None


def read_dead_letters(settings: KafkaSettings, catalogue: Catalogue) -> Iterator[Message]:
    """Yield all dead letters that the topic still has.

    Raises:
        KafkaException: the broker or the topic is not there.
    """
    return read_to_end(settings, catalogue.dead_letters.name)


def find_dead_letter(settings: KafkaSettings, catalogue: Catalogue, letter: str) -> Message | None:
    """Return the dead letter at `partition/offset`, or None if there is none (any more).

    Raises:
        ValueError: `letter` does not have the form `partition/offset`.
        KafkaException: the broker or the topic is not there.
    """
    partition, offset = (int(number) for number in letter.split("/"))
    messages = read_to_end(settings, catalogue.dead_letters.name, {partition: offset})
    at = (partition, offset)
    return next((message for message in messages if (message.partition(), message.offset()) == at), None)


def describe(message: Message) -> DescribedDeadLetter:
    """Return the description of a record of `dead-letters`, also if it was not written by this system."""
    try:
        opened = decode_dead_letter(message)
    except DecodeError as error:
        opened = DeadLetter("", str(error), Record("", message.key(), message.value(), []))
    return DescribedDeadLetter(
        letter=f"{message.partition()}/{message.offset()}",
        time=rfc3339(message.timestamp()[1]),
        origin=opened.origin,
        reason=opened.reason,
        key=_bytes(opened.original.key),
        headers=tuple(Header(name=name, value=_bytes(value)) for name, value in opened.original.headers),
        value=_bytes(opened.original.value),
    )


def original(catalogue: Catalogue, message: Message) -> Record:
    """Return the record that a dead letter holds, to be produced to its original topic.

    Raises:
        NotRetriableError: the record would do harm there, or have no effect.
    """
    try:
        record = decode_dead_letter(message).original
    except DecodeError as error:
        raise NotRetriableError(str(error)) from None
    if record.topic not in _retriable(catalogue):
        raise NotRetriableError(_instead(catalogue, record.topic))
    return record


def retry(settings: KafkaSettings, records: list[Record]) -> list[str]:
    """Produce the records again, and return the new position of each as `topic/partition/offset`.

    Raises:
        KafkaException: the broker did not acknowledge. Another call is safe, as an id is accepted once.
    """
    producer = EventProducer(settings, message_timeout_ms=_TIMEOUT_MS)
    try:
        produced = [producer.produce(record).result() for record in records]
    finally:
        producer.close()
    return [f"{message.topic()}/{message.partition()}/{message.offset()}" for message in produced]


def _retriable(catalogue: Catalogue) -> set[str]:
    return {catalogue.requests.name, catalogue.webhooks.name, catalogue.webhook_retries.name}


def _instead(catalogue: Catalogue, topic: str) -> str:
    families = (catalogue.submissions, catalogue.dependencies)
    if topic in {family.events.name for family in families}:
        return f"it is on {topic} for ever, and would be refused again: `envicutor audit show` shows why"
    if topic in {family.queue.name for family in families}:
        return f"{topic} is filled from the log: `envicutor audit verify --repair` retries stuck attempts"
    return f"records of {topic} are valid for a moment; retry requests and webhooks only"


def _bytes(raw: str | bytes | None) -> Bytes | None:
    if raw is None:
        return None
    try:
        return Bytes(content=raw.decode() if isinstance(raw, bytes) else raw, encoding="utf8")
    except UnicodeDecodeError:
        return Bytes(content=base64.b64encode(raw).decode(), encoding="base64")  # type: ignore[arg-type]  # pydantic takes the encoded text
