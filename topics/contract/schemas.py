"""The contract of the public topics: JSON Schemas and AsyncAPI 3, made from the catalogue and the models.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from topics.audit.seals import SEALED, Seal
from topics.catalogue import Catalogue
from topics.dependencies import facts as dependencies
from topics.dependencies.state import EnvironmentState
from topics.kafka.codec import REPLY_TOPIC
from topics.model import Model
from topics.request.ceilings import DEFAULT_CEILINGS, Ceilings, add_maxima
from topics.request.files import ID_PATTERN
from topics.request.model import SubmissionRequest
from topics.security.api_keys import STORED, ApiKey
from topics.settings import KafkaSettings
from topics.submissions import facts as submissions
from topics.submissions.state import Answer, Submission
from topics.submissions.webhook import ENDED, Ended
from topics.topic import Topic
from topics.views.package_sets import PackageSetInForce

Direction = Literal["read", "written"]
"""Direction of the documents of a schema, as this system sees it."""

CONTRACT_VERSION = "2.1.0"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PREFIX = "envicutor."
_BOUNDS = frozenset({"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"})
_ID = {"type": "string", "pattern": ID_PATTERN, "description": "The submission's id."}
_KEY = {"type": "string"}
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the API key."}
_HEADERS = {
    "ce_specversion": "Version of CloudEvents, `1.0`.",
    "ce_id": "Id of the event.",
    "ce_type": "Type of the event.",
    "ce_source": "Process that produced the event, such as `/envicutor/worker/…`.",
    "ce_subject": "Id of the submission or of the dependencies: the record's key.",
    "ce_time": "Time by the clock of the producing process: RFC 3339. The append time is decisive.",
    "content-type": "Media type of the value, `application/json`.",
    "traceparent": "Trace context of W3C, which the events of the submission carry on.",
    "tracestate": "Trace context of W3C, which the events of the submission carry on.",
    REPLY_TOPIC: "Topic that the answer is produced to. An operator must have created it.",
    "dead_letter_from": "Original place of the record, as `topic/partition/offset`.",
    "dead_letter_reason": "Reason why the record could not be used.",
}
"""Descriptions of the headers of records, by name."""


@dataclass(frozen=True, slots=True)
class MessageType:
    """A kind of record on a public topic."""

    name: str
    model: type[Model] | None
    """Model of the record's value; None if the value may be any bytes."""
    ce_type: str | None
    """Value of the header `ce_type`; None if the header may be missing."""
    direction: Direction
    summary: str = ""
    """Description of a record without a model; others have their model's."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A public topic and the messages that it may hold."""

    topic: Topic
    key: dict[str, Any]
    messages: tuple[MessageType, ...]
    action: Literal["receive", "send"] = "send"
    """AsyncAPI's operation of Envicutor on this channel."""
    chosen: bool = False
    """Whether requests name the topic; the name here is then the prefix of theirs."""


_DEAD_LETTER = MessageType(
    "dead_letter",
    None,
    None,
    "written",
    "A record that could not be used, with its original value and headers.",
)


def _written(ce_type: str, model: type[Model]) -> MessageType:
    return MessageType(ce_type.removeprefix(_PREFIX), model, ce_type, "written")


def channels(catalogue: Catalogue) -> tuple[Channel, ...]:
    """Return the public topics of a system; queues, leases, stops and live output are internal."""
    requests = (
        MessageType("submission.request", SubmissionRequest, None, "read"),
        MessageType(
            submissions.CANCEL.removeprefix(_PREFIX),
            None,
            submissions.CANCEL,
            "read",
            "The client no longer wants an answer. The value does not matter.",
        ),
    )
    return (
        Channel(catalogue.requests, _ID, requests, "receive"),
        Channel(catalogue.submissions.events, _ID, _facts(submissions.FACTS)),
        Channel(catalogue.submissions.store, _ID, (_written("envicutor.submission.stored.v1", Submission),)),
        Channel(catalogue.dependencies.events, _KEY, _facts(dependencies.FACTS)),
        Channel(
            catalogue.dependencies.store,
            _KEY,
            (_written("envicutor.dependencies.stored.v1", EnvironmentState),),
        ),
        Channel(
            catalogue.package_sets, _KEY, (_written("envicutor.package_set.refreshed.v1", PackageSetInForce),)
        ),
        Channel(catalogue.api_keys, _DIGEST, (_written(STORED, ApiKey),)),
        Channel(catalogue.seals, _KEY, (_written(SEALED, Seal),)),
        Channel(catalogue.dead_letters, _KEY, (_DEAD_LETTER,)),
        Channel(catalogue.replies, _ID, (_written("envicutor.submission.answered.v1", Answer),), chosen=True),
    )


def _facts(facts: Any) -> tuple[MessageType, ...]:
    return tuple(_written(ce_type, model) for ce_type, model in facts.items())


def message_types(catalogue: Catalogue) -> Iterator[MessageType]:
    """Return every kind of record that has a schema, and the body of webhooks."""
    records = (kind for channel in channels(catalogue) for kind in channel.messages if kind.model)
    return chain(records, [_written(ENDED, Ended)])


def schema(kind: MessageType, ceilings: Ceilings = DEFAULT_CEILINGS) -> dict[str, Any]:
    """Return the JSON Schema of the value; limits of requests are bounded by `ceilings`.

    Schemas of written values promise a shape. Their objects are open, as minor versions may add fields. They
    have no bounds of numbers and lengths, as limits of requests may be raised.
    """
    assert kind.model is not None
    body = kind.model.model_json_schema(mode="serialization" if kind.direction == "written" else "validation")
    if kind.model is SubmissionRequest:
        add_maxima(body["$defs"], ceilings)
    whole = {"$schema": _DIALECT, "$id": f"{kind.name}.json"} | body
    return _open(whole) if kind.direction == "written" else whole


def _open(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _open(value)
            for key, value in schema.items()
            if key not in _BOUNDS and (key, value) != ("additionalProperties", False)
        }
    return [_open(item) for item in schema] if isinstance(schema, list) else schema


def asyncapi(settings: KafkaSettings, catalogue: Catalogue) -> dict[str, Any]:
    """Return the AsyncAPI document of the public topics, from Envicutor's side: it receives requests."""
    public = channels(catalogue)
    replies = {"address": {"location": f"$message.header#/{REPLY_TOPIC}"}} | _to(catalogue.replies)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Envicutor",
            "version": CONTRACT_VERSION,
            "description": "Remote code execution. Requests go to one topic, facts come from others.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.topic.name: _channel(settings, channel) for channel in public},
        "operations": {f"{c.action}.{c.topic.name}": _operation(c, replies) for c in public},
        "components": {"schemas": _components(catalogue, settings.ceilings)},
    }


def _channel(settings: KafkaSettings, channel: Channel) -> dict[str, Any]:
    topic = channel.topic
    kafka = {
        "topic": topic.name,
        "partitions": topic.partitions(settings.profile),
        "topicConfiguration": {
            "cleanup.policy": ["compact" if topic.compacted else "delete"],
            "retention.ms": topic.retention_ms,
            "max.message.bytes": topic.max_message_bytes,
        },
        "bindingVersion": "0.5.0",
    }
    if channel.chosen:
        del kafka["topic"]
    return {
        "address": None if channel.chosen else topic.name,
        "description": topic.description,
        "messages": {kind.name: _message(channel, kind) for kind in channel.messages},
        "bindings": {"kafka": kafka},
    }


def _message(channel: Channel, kind: MessageType) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": kind.ce_type or kind.name,
        "headers": _headers(kind),
        "bindings": {"kafka": {"key": channel.key, "bindingVersion": "0.5.0"}},
    }
    if kind.model:
        message["contentType"] = "application/json"
        message["payload"] = {"$ref": f"#/components/schemas/{kind.name}"}
    message["summary"] = kind.summary or ((kind.model and kind.model.__doc__) or "").split("\n")[0]
    return message


def _headers(kind: MessageType) -> dict[str, Any]:
    if kind.name == "dead_letter":
        return _object(_headers_named("dead_letter_from", "dead_letter_reason"), required=True)
    typed = {"ce_type": {"const": kind.ce_type, "description": _HEADERS["ce_type"]}} if kind.ce_type else {}
    names = ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "content-type")
    if kind.direction == "read":
        optional = _headers_named(REPLY_TOPIC, "traceparent", "tracestate")
        return _object(typed | optional, required=False) | ({"required": ["ce_type"]} if kind.ce_type else {})
    return _object(_headers_named(*names) | typed, required=True)


def _headers_named(*names: str) -> dict[str, Any]:
    return {name: {"type": "string", "description": _HEADERS[name]} for name in names}


def _object(properties: dict[str, Any], *, required: bool) -> dict[str, Any]:
    whole = {"type": "object", "properties": properties}
    return whole | ({"required": list(properties)} if required else {})


def _operation(channel: Channel, replies: dict[str, Any]) -> dict[str, Any]:
    verb = "Consume" if channel.action == "receive" else "Produce"
    summary = f"{verb} records of `{channel.topic.name}`."
    operation = {"action": channel.action, "summary": summary} | _to(channel.topic)
    return operation | {"reply": replies} if channel.action == "receive" else operation


def _to(topic: Topic) -> dict[str, Any]:
    return {"channel": {"$ref": f"#/channels/{topic.name}"}}


def _components(catalogue: Catalogue, ceilings: Ceilings) -> dict[str, Any]:
    """Return the schema of each value.

    Definitions that several schemas have are named after the schema that contains them, as they may differ.
    """
    components: dict[str, Any] = {}
    for kind in message_types(catalogue):
        whole = _within(schema(kind, ceilings), kind.name)
        for name, definition in whole.pop("$defs", {}).items():
            components[f"{kind.name}.{name}"] = definition
        components[kind.name] = {k: v for k, v in whole.items() if k not in {"$schema", "$id"}}
    return components


def _within(schema: Any, name: str) -> Any:
    """Return `schema` with references to the definitions as `_components` names them."""
    match schema:
        case {"$ref": str(reference)}:
            return schema | {"$ref": f"#/components/schemas/{name}.{reference.rsplit('/', 1)[1]}"}
        case dict():
            return {key: _within(value, name) for key, value in schema.items()}
        case list():
            return [_within(item, name) for item in schema]
        case _:
            return schema
