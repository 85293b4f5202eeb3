"""Facts as Kafka records: JSON values, CloudEvents headers in Kafka's binary mode.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md
"""

import random
import uuid
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Message
from pydantic import ValidationError

from topics.fold import Recorded
from topics.model import Model
from topics.times import now

FactT = TypeVar("FactT", bound=Model)

Headers = list[tuple[str, str | bytes | None]]

UNREADABLE_HEADERS = "unreadable_headers"
"""Stands for all headers of a record that has one whose name is not UTF-8."""
CARRIED_HEADERS = 16
"""How many headers of a request are carried to the event that it becomes."""
CARRIED_BYTES = 4 * 1024
"""Their names and values together."""
REPLY_TOPIC = "reply_topic"
"""The header of a request that names the topic for its answer."""
_RANDOM = random.Random(uuid.uuid4().int)  # noqa: S311 - for no secret
_OURS = frozenset(
    {
        *("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "content-type"),
        REPLY_TOPIC,
    }
)
_LETTER_FROM, _LETTER_REASON = "dead_letter_from", "dead_letter_reason"


class DecodeError(ValueError):
    """The record is not what its topic promises; the message says why."""


class Record(NamedTuple):
    """A record to be produced."""

    topic: str
    key: str | bytes | None
    value: str | bytes | None
    headers: Headers


def encode(model: Model) -> bytes:
    """Canonical JSON: fields in the order of their declaration, so equal models give equal bytes."""
    return model.model_dump_json().encode()


def encode_fact(
    topic: str,
    id: str,
    fact: Model,
    facts: Mapping[str, type[Model]],
    source: str,
    carried: Headers | None = None,
) -> Record:
    """The record of `fact` about `id`, said by `source`, such as `worker/7f3a`."""
    own = fact_headers(id, fact, facts, source)
    return Record(topic, id.encode(), encode(fact), own + (carried or []))


def fact_headers(id: str, fact: Model, facts: Mapping[str, type[Model]], source: str) -> Headers:
    """CloudEvents attributes of a fact."""
    ce_type = next(name for name, model in facts.items() if model is type(fact))
    return cloud_event(ce_type, unique(), id, source)


def unique() -> str:
    """A name that nothing else has, for whatever is no secret.

    `uuid4` asks the kernel each time, which was a quarter of what it cost to accept a request.
    """
    return f"{_RANDOM.getrandbits(128):032x}"


def cloud_event(ce_type: str, ce_id: str, subject: str, source: str) -> Headers:
    """The attributes of one CloudEvent with a JSON value."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", ce_id.encode()),
        ("ce_type", ce_type.encode()),
        ("ce_source", f"/envicutor/{source}".encode()),
        ("ce_subject", subject.encode()),
        ("ce_time", now().encode()),
        ("content-type", b"application/json"),
    ]


def decode_fact(message: Message, facts: Mapping[str, type[FactT]]) -> Recorded[FactT]:
    """Read a fact.

    Raises:
        DecodeError: it has no key, an unknown type, or a value that is not of its type.
    """
    ce_type = header(message, "ce_type")
    model = facts.get(ce_type or "")
    if model is None:
        raise DecodeError(f"unknown ce_type {ce_type!r}")
    return Recorded(decode_key(message), decode(model, message.value()), message.timestamp()[1])


def decode_key(message: Message) -> str:
    """The record's key as text.

    Raises:
        DecodeError: it has none, or it is not UTF-8.
    """
    if key := _text(message.key()):
        return key
    raise DecodeError("no key, or one that is not UTF-8")


def decode(model: type[FactT], value: str | bytes | None) -> FactT:
    """Read a value.

    Raises:
        DecodeError: it is not JSON of this model.
    """
    try:
        return model.read(value or b"")
    except ValidationError as error:
        raise DecodeError(f"not a {model.__name__}: {error.errors()[0]['msg']}") from None


def header(message: Message, name: str) -> str | None:
    """A header's text, None where it is missing or not UTF-8."""
    return _text(dict(headers(message)).get(name))


_found_headers: Callable[[Message], Any] = methodcaller("headers")
"""Where a name is not UTF-8, confluent-kafka 2.16 returns a list and leaves an error behind. A call from
bytecode that CPython has specialised does not look for one, which then comes up anywhere; this one does."""


def headers(message: Message) -> Headers:
    """A record's headers in their order; `UNREADABLE_HEADERS` alone where they cannot be read."""
    try:
        found = _found_headers(message)
    except SystemError:  # confluent-kafka 2.16 keeps a list that crashes whoever looks at it again
        message.set_headers([(UNREADABLE_HEADERS, b"a name is not UTF-8")])
        found = _found_headers(message)
    return list(found.items() if isinstance(found, dict) else found or ())


def carried(headers: Headers) -> Headers:
    """What goes from a request to its event: headers that are not ours, in order, as far as they fit."""
    fitting: Headers = []
    size = 0
    for name, value in headers:
        if name in _OURS:
            continue
        size += len(name.encode()) + len(value or b"")
        if size > CARRIED_BYTES or len(fitting) == CARRIED_HEADERS:
            break
        fitting.append((name, value))
    return fitting


def _text(raw: str | bytes | None) -> str | None:
    try:
        return raw.decode() if isinstance(raw, bytes) else raw
    except UnicodeDecodeError:
        return None


class Letter(NamedTuple):
    """A dead letter, taken apart."""

    origin: str
    """Where the record stood: `topic/partition/offset`."""
    reason: str
    original: Record
    """To be produced, it is the record as it came, where it came from."""


def dead_letter(topic: str, message: Message, reason: str) -> Record:
    """The record as it came, with headers that say from where (`topic/partition/offset`) and why."""
    origin = f"{message.topic()}/{message.partition()}/{message.offset()}"
    original = Record(message.topic() or "", message.key(), message.value(), headers(message))
    return close_letter(topic, Letter(origin, reason, original))


def close_letter(topic: str, letter: Letter) -> Record:
    """The record of `dead-letters` that `open_letter` takes apart."""
    why: Headers = [
        (_LETTER_FROM, letter.origin.encode()),
        (_LETTER_REASON, letter.reason[:1000].encode(errors="backslashreplace")),
    ]
    return letter.original._replace(topic=topic, headers=[*letter.original.headers, *why])


def open_letter(message: Message) -> Letter:
    """Read a record of `dead-letters`.

    Raises:
        DecodeError: nobody wrote it by `dead_letter`.
    """
    found = headers(message)
    if [name for name, _ in found[-2:]] != [_LETTER_FROM, _LETTER_REASON]:
        raise DecodeError("not a dead letter: it does not say from where and why")
    *original, (_, origin), (_, reason) = found
    where = _text(origin) or ""
    record = Record(where.rsplit("/", 2)[0], message.key(), message.value(), original)
    return Letter(where, _text(reason) or "", record)
