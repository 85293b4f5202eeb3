"""Consumed records: their positions, and the errors that a client returns among them."""

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from confluent_kafka import KafkaException, Message

from topics.kafka.clients import is_fatal

log = logging.getLogger(__name__)


class RecordPosition(NamedTuple):
    """Position of a record on its topic."""

    partition: int
    offset: int


def position(message: Message) -> RecordPosition:
    """Return the position of a consumed record; 0 stands for a missing number."""
    return RecordPosition(message.partition() or 0, message.offset() or 0)


def usable(messages: Iterable[Message], reader: str) -> Iterator[Message]:
    """Yield the records among what a client returned, and log errors; `reader` begins the log lines.

    Raises:
        KafkaException: the client is unusable.
    """
    for message in messages:
        error = message.error()
        if error is None:
            yield message
        elif is_fatal(error):
            raise KafkaException(error)
        else:
            log.warning("%s: %s", reader, error)
