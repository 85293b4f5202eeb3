"""Waiting for acknowledgements of the broker."""

import asyncio
from collections.abc import Collection

from confluent_kafka import KafkaException, Message


async def acknowledged(acknowledgements: Collection["asyncio.Future[Message]"]) -> None:
    """Wait for acknowledgements, which others may wait for as well.

    Raises:
        KafkaException: the broker will not acknowledge one of them.
    """
    if acknowledgements:
        await asyncio.wait(acknowledgements)
    for acknowledgement in acknowledgements:
        acknowledgement.result()


async def failure(acknowledgement: "asyncio.Future[Message]") -> KafkaException | None:
    """Return why the broker will not acknowledge a record; None once it has acknowledged it."""
    try:
        await acknowledged([acknowledgement])
    except KafkaException as error:
        return error
    return None
