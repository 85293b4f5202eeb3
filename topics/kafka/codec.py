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
"""Name of the one header that replaces all headers of a record if a header's name is not UTF-8."""
CARRIED_HEADERS = 16
"""Most headers of a request that are copied to its event."""
CARRIED_BYTES = 4 * 1024
"""Most bytes of the names and values of copied headers together."""
HOPS = "hops"
"""Header of a queue record: how often it was redirected. A record with it is never a first delivery."""
REPLY_TOPIC = "reply_topic"
"""Header of a request that names the topic for its answer."""
_RANDOM = random.Random(uuid.uuid4().int)  # noqa: S311 - for no secret
_OWN_HEADERS = frozenset(
    {
        *("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "content-type"),
        REPLY_TOPIC,
    }
)
_LETTER_FROM, _LETTER_REASON = "dead_letter_from", "dead_letter_reason"


class DecodeError(ValueError):
    """A record does not have the form that its topic promises; the message is the reason."""


class Record(NamedTuple):
    """A record to be produced."""

    topic: str
    key: str | bytes | None
    value: str | bytes | None
    headers: Headers


def encode(model: Model) -> bytes:
    """Return canonical JSON: fields in the order of their declaration, so equal models give equal bytes."""
    return model.model_dump_json().encode()


def encode_fact(
    topic: str,
    id: str,
    fact: Model,
    facts: Mapping[str, type[Model]],
    source: str,
    carried: Headers | None = None,
) -> Record:
    """Return the record of `fact` with the key `id`, published by `source`, such as `worker/7f3a`."""
    own = fact_headers(id, fact, facts, source)
    return Record(topic, id.encode(), encode(fact), own + (carried or []))


def fact_headers(id: str, fact: Model, facts: Mapping[str, type[Model]], source: str) -> Headers:
    """Return the CloudEvents attributes of a fact, with a new `ce_id`."""
    ce_type = next(name for name, model in facts.items() if model is type(fact))
    return cloud_event(ce_type, unique(), id, source)


def unique() -> str:
    """Return 128 random bits as hexadecimal digits, for names that need not be secret.

    `uuid4` asks the kernel each time, which took a quarter of the time to accept a request.
    """
    return f"{_RANDOM.getrandbits(128):032x}"


def cloud_event(ce_type: str, ce_id: str, subject: str, source: str) -> Headers:
    """Return the attributes of one CloudEvent with a JSON value, of this moment."""
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
    """Decode a fact, whose type the header `ce_type` names.

    Raises:
        DecodeError: the record has no key, an unknown type, or a value that is not of its type.
    """
    ce_type = header(message, "ce_type")
    model = facts.get(ce_type or "")
    if model is None:
        raise DecodeError(f"unknown ce_type {ce_type!r}")
    return Recorded(decode_key(message), decode(model, message.value()), message.timestamp()[1])


def decode_key(message: Message) -> str:
    """Return the record's key as text.

    Raises:
        DecodeError: the record has no key, or the key is not UTF-8.
    """
    if key := _text(message.key()):
        return key
    raise DecodeError("no key, or one that is not UTF-8")


def decode(model: type[FactT], value: str | bytes | None) -> FactT:
    """Decode a value; unknown fields are ignored.

    Raises:
        DecodeError: the value is not JSON of this model.
    """
    try:
        return model.read(value or b"")
    except ValidationError as error:
        raise DecodeError(f"not a {model.__name__}: {error.errors()[0]['msg']}") from None


def header(message: Message, name: str) -> str | None:
    """Return a header's text, or None if the header is missing or not UTF-8."""
    return _text(dict(headers(message)).get(name))


_found_headers: Callable[[Message], Any] = methodcaller("headers")
"""Call of `Message.headers` that notices an error.

If a header's name is not UTF-8, confluent-kafka 2.16 returns a list and leaves an exception set. Specialised
bytecode of CPython does not check for it, so that it appears in other code; `methodcaller` checks.
"""


def headers(message: Message) -> Headers:
    """Return a record's headers in their order, or `UNREADABLE_HEADERS` alone if they cannot be read."""
    try:
        found = _found_headers(message)
    except SystemError:  # confluent-kafka 2.16 keeps a list that crashes the process if it is read again
        message.set_headers([(UNREADABLE_HEADERS, b"a name is not UTF-8")])
        found = _found_headers(message)
    return list(found.items() if isinstance(found, dict) else found or ())


def carried(headers: Headers) -> Headers:
    """Return the headers that are copied from a request to its event.

    They are those that Envicutor does not set itself, in order, until `CARRIED_HEADERS` or `CARRIED_BYTES`.
    """
    fitting: Headers = []
    size = 0
    for name, value in headers:
        if name in _OWN_HEADERS:
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


class DeadLetter(NamedTuple):
    """A dead letter: a record with its origin and the reason why it was refused."""

    origin: str
    """Position of the record as `topic/partition/offset`."""
    reason: str
    original: Record
    """The refused record, unchanged, to be produced to the topic that it came from."""


def make_dead_letter(topic: str, message: Message, reason: str) -> Record:
    """Return the unchanged record with headers for its origin (`topic/partition/offset`) and the reason."""
    origin = f"{message.topic()}/{message.partition()}/{message.offset()}"
    original = Record(message.topic() or "", message.key(), message.value(), headers(message))
    return encode_dead_letter(topic, DeadLetter(origin, reason, original))


def encode_dead_letter(topic: str, letter: DeadLetter) -> Record:
    """Return the record of `dead-letters` from which `decode_dead_letter` reads `letter`."""
    why: Headers = [
        (_LETTER_FROM, letter.origin.encode()),
        (_LETTER_REASON, letter.reason[:1000].encode(errors="backslashreplace")),
    ]
    return letter.original._replace(topic=topic, headers=[*letter.original.headers, *why])


def decode_dead_letter(message: Message) -> DeadLetter:
    """Decode a record of `dead-letters`.

    Raises:
        DecodeError: the record was not made by `make_dead_letter`.
    """
    found = headers(message)
    if [name for name, _ in found[-2:]] != [_LETTER_FROM, _LETTER_REASON]:
        raise DecodeError("not a dead letter: its last headers are not its origin and reason")
    *original, (_, origin), (_, reason) = found
    where = _text(origin) or ""
    record = Record(where.rsplit("/", 2)[0], message.key(), message.value(), original)
    return DeadLetter(where, _text(reason) or "", record)
