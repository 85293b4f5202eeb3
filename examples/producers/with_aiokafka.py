"""Hands a program to Envicutor through Kafka; needs aiokafka alone.

python3 with_aiokafka.py 127.0.0.1:9092 homework-17

To follow the answer with aiokafka, install `aiokafka[lz4]`: what Envicutor writes is compressed so.
"""

import asyncio
import json
import sys

from aiokafka import AIOKafkaProducer


async def main(servers: str, id: str, prefix: str = "") -> None:
    value = json.dumps({"run": "echo hello"}).encode()
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        # Returns when the broker has it. After an exception that is not known; sending it again is safe.
        at = await producer.send_and_wait(f"{prefix}submissions.requests", value, id.encode())
    print(f"{at.topic}/{at.partition}/{at.offset}")


if len(sys.argv) < 3:
    sys.exit(__doc__)
asyncio.run(main(*sys.argv[1:]))
