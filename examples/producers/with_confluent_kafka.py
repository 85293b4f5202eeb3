"""Hands a program to Envicutor through Kafka and waits for the answer; needs confluent-kafka alone.

python3 with_confluent_kafka.py 127.0.0.1:9092 homework-17
"""

import json
import sys

from confluent_kafka import Consumer, Producer

if len(sys.argv) < 3:
    sys.exit(__doc__)
servers, id, prefix = [*sys.argv[1:], ""][:3]
request = {"run": "echo hello"}

producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
refused = []
producer.produce(
    f"{prefix}submissions.requests",
    key=id,
    value=json.dumps(request),
    headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    on_delivery=lambda error, _: error and refused.append(error),
)
producer.flush()
if refused:  # the same again is safe: the same id with the same content is one submission
    sys.exit(f"not acknowledged: {refused[0]}")

consumer = Consumer(
    {
        "bootstrap.servers": servers,
        "group.id": f"follower-of-{id}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,  # so that each run reads from the beginning
        "isolation.level": "read_committed",
    }
)
consumer.subscribe([f"{prefix}submissions.events"])
while True:
    message = consumer.poll(1.0)
    if message is None or message.error() or message.key() != id.encode():
        continue
    kind = dict(message.headers())["ce_type"].decode()
    print(kind, flush=True)
    if kind == "envicutor.submission.finished.v1":
        print(json.loads(message.value())["outcome"])
        break
    if kind in {"envicutor.submission.rejected.v1", "envicutor.submission.cancelled.v1"}:
        break
consumer.close()
