"""Records that could not be read or accepted: looking at them, and trying them again."""

import base64
from collections.abc import Iterator
from typing import Literal

from confluent_kafka import Message

from topics.catalogue import Catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.codec import DecodeError, Letter, Record, open_letter
from topics.kafka.scan import read_to_end
from topics.model import Model
from topics.settings import KafkaSettings
from topics.times import rfc3339

_TIMEOUT_MS = 30_000


class NotRetriableError(Exception):
    """To produce it again would be wrong; the message says what to do instead."""


class Bytes(Model):
    """Bytes as JSON, losing nothing."""

    content: str
    encoding: Literal["utf8", "base64"]


class Header(Model):
    """One header."""

    name: str
    value: Bytes | None


class DescribedLetter(Model):
    """A record of `dead-letters`."""

    letter: str
    """Where it stands: `partition/offset`."""
    time: str
    """Append time."""
    origin: str
    """Where the record stood: `topic/partition/offset`."""
    reason: str
    key: Bytes | None
    headers: tuple[Header, ...]
    """As the record had them."""
    value: Bytes | None


def read_letters(settings: KafkaSettings, catalogue: Catalogue) -> Iterator[Message]:
    """All that are kept.

    Raises:
        KafkaException: the broker or the topic is not there.
    """
    return read_to_end(settings, catalogue.dead_letters.name)


def find_letter(settings: KafkaSettings, catalogue: Catalogue, letter: str) -> Message | None:
    """The one at `partition/offset`, None where there is none (any more).

    Raises:
        ValueError: `letter` is no such place.
        KafkaException: see `read_letters`.
    """
    partition, offset = (int(number) for number in letter.split("/"))
    messages = read_to_end(settings, catalogue.dead_letters.name, {partition: offset})
    at = (partition, offset)
    return next((message for message in messages if (message.partition(), message.offset()) == at), None)


def describe(message: Message) -> DescribedLetter:
    """What there is to see of a record of `dead-letters`, whoever wrote it."""
    try:
        opened = open_letter(message)
    except DecodeError as error:
        opened = Letter("", str(error), Record("", message.key(), message.value(), []))
    return DescribedLetter(
        letter=f"{message.partition()}/{message.offset()}",
        time=rfc3339(message.timestamp()[1]),
        origin=opened.origin,
        reason=opened.reason,
        key=_bytes(opened.original.key),
        headers=tuple(Header(name=name, value=_bytes(value)) for name, value in opened.original.headers),
        value=_bytes(opened.original.value),
    )


def original(catalogue: Catalogue, message: Message) -> Record:
    """The record that a dead letter holds, to be produced where it came from.

    Raises:
        NotRetriableError: it would do harm, or nothing, there.
    """
    try:
        record = open_letter(message).original
    except DecodeError as error:
        raise NotRetriableError(str(error)) from None
    if record.topic not in _retriable(catalogue):
        raise NotRetriableError(_instead(catalogue, record.topic))
    return record


def retry(settings: KafkaSettings, records: list[Record]) -> list[str]:
    """Produce them again; where each stands now, as `topic/partition/offset`.

    Raises:
        KafkaException: the broker did not acknowledge; the same again is safe, as an id is accepted once.
    """
    producer = EventProducer(settings, message_timeout_ms=_TIMEOUT_MS)
    try:
        said = [producer.produce(record).result() for record in records]
    finally:
        producer.close()
    return [f"{message.topic()}/{message.partition()}/{message.offset()}" for message in said]


def _retriable(catalogue: Catalogue) -> set[str]:
    return {catalogue.requests.name, catalogue.webhooks.name, catalogue.webhook_retries.name}


def _instead(catalogue: Catalogue, topic: str) -> str:
    families = (catalogue.submissions, catalogue.dependencies)
    if topic in {family.events.name for family in families}:
        return f"it is on {topic} for ever, and would be refused again: `envicutor audit show` says why"
    if topic in {family.queue.name for family in families}:
        return f"{topic} is filled from the log: `envicutor audit verify --repair` mends what is stuck"
    return f"what stood on {topic} was of its moment; retry requests and webhooks only"


def _bytes(raw: str | bytes | None) -> Bytes | None:
    if raw is None:
        return None
    try:
        return Bytes(content=raw.decode() if isinstance(raw, bytes) else raw, encoding="utf8")
    except UnicodeDecodeError:
        return Bytes(content=base64.b64encode(raw).decode(), encoding="base64")  # type: ignore[arg-type]
