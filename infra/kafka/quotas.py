"""Client quotas of Kafka, which librdkafka cannot set: bytes per second that a user may produce.

https://kafka.apache.org/protocol.html#The_Messages_AlterClientQuotas
"""

import asyncio
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError as AioKafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Float64, Int16, Int32, Schema, String
from confluent_kafka import KafkaError, KafkaException

from topics.kafka.clients import SASL_MECHANISM, ssl_context
from topics.settings import KafkaSettings

PRODUCED_BYTES_PER_S = "producer_byte_rate"

_TEXT = String("utf-8")
_ENTITY = ("entity", Array(("entity_type", _TEXT), ("entity_name", _TEXT)))


class _Response(Response):
    API_KEY = 49
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("entries", Array(("error_code", Int16), ("error_message", _TEXT), _ENTITY)),
    )


class _Request(RequestStruct):
    API_KEY = 49
    API_VERSION = 0
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "entries",
            Array(_ENTITY, ("ops", Array(("key", _TEXT), ("value", Float64), ("remove", Boolean)))),
        ),
        ("validate_only", Boolean),
    )


class _AlterQuota(Request[_Request]):
    API_KEY = 49

    def __init__(self, user: str, bytes_per_s: int | None) -> None:
        self._entity = [("user", user)]
        self._change = (PRODUCED_BYTES_PER_S, float(bytes_per_s or 0), bytes_per_s is None)

    def build(self, request_struct_class: type[_Request]) -> _Request:
        return request_struct_class([(self._entity, [self._change])], False)


def put_quota(settings: KafkaSettings, user: str, bytes_per_s: int | None) -> None:
    """Set the bytes per second that a user may produce, averaged over some ten seconds. None removes it.

    The broker does not refuse records beyond the quota. It delays its responses, so that the producer slows
    down.

    Raises:
        KafkaException: the broker refused, or did not answer.
    """
    asyncio.run(_put(settings, _AlterQuota(user, bytes_per_s)))


async def _put(settings: KafkaSettings, change: _AlterQuota) -> None:
    client = AIOKafkaClient(bootstrap_servers=settings.bootstrap_servers, **_credentials(settings))
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), change)
    except AioKafkaError as error:
        raise KafkaException(KafkaError(KafkaError._FAIL, str(error))) from error
    finally:
        await client.close()
    for code, message, _ in answer.entries:
        if code:
            raise KafkaException(KafkaError(code, message))


def _credentials(settings: KafkaSettings) -> dict[str, Any]:
    if settings.security_protocol == "PLAINTEXT":
        return {}
    return {
        "security_protocol": settings.security_protocol,
        "ssl_context": ssl_context(settings),
        "sasl_mechanism": SASL_MECHANISM,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password,
    }
