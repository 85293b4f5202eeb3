"""What the broker answers, as confluent-kafka raises it."""

import asyncio
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from tests.simulator.groups import FencedInstanceError, UnknownMemberError, UnstableOffsetError
from tests.simulator.network import BrokerError
from tests.simulator.scheduler import Future
from tests.simulator.transactions import BusyError, FencedError
from tests.simulator.virtual.loop import VirtualLoop

ANSWER_S = 10.0
"""How long a client waits for an answer, which may still come: the broker may have done what was asked."""


def kafka_exception(error: BrokerError, *, in_transaction: bool = False) -> KafkaException:
    """Return it with the flags that librdkafka sets; `in_transaction` it must be aborted after some."""
    match error:
        case FencedError():
            return KafkaException(KafkaError(KafkaError._FENCED, str(error), fatal=True))
        case BusyError():
            return KafkaException(KafkaError(KafkaError.CONCURRENT_TRANSACTIONS, str(error), retriable=True))
        case UnstableOffsetError():
            return KafkaException(KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT, str(error), retriable=True))
        case UnknownMemberError():
            code = KafkaError.UNKNOWN_MEMBER_ID
        case FencedInstanceError():
            code = KafkaError.FENCED_INSTANCE_ID
        case _:
            code = KafkaError.UNKNOWN
    return KafkaException(KafkaError(code, str(error), txn_requires_abort=in_transaction))


def timed_out() -> KafkaException:
    """Return what a call raises that may be made again, and then waits for the same answer."""
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, retriable=True))


async def answered(loop: VirtualLoop, future: Future, timeout_s: float = ANSWER_S) -> Any:
    """Return the answer to a request.

    Raises:
        KafkaException: the broker refused it, or there was no answer in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await loop.answer(future)
    except BrokerError as error:
        raise kafka_exception(error) from None
    except TimeoutError:
        raise timed_out() from None
