"""What the OpenAPI document says holds for whatever is sent: no fault, and no answer that it does not tell.

`make soak-http` tries thousands of cases.
"""

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import schemathesis.core.failures
from confluent_kafka import Consumer
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.http.nodes import Nodes
from topics.clients import consumer_config

pytestmark = pytest.mark.xdist_group("http")

CASES = int(os.environ.get("HTTP_CASES", "200"))
STEPS = 10
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def worker(nodes: Nodes) -> Iterator[None]:
    """Finishes whatever is queued, so that event streams end."""
    stop = threading.Event()
    consumer = Consumer(consumer_config(nodes.kafka, "worker"))
    consumer.subscribe([nodes.topics.submissions.queue.name])

    def work() -> None:
        while not stop.is_set():
            message = consumer.poll(0.05)
            if message is not None and message.error() is None:
                key = message.key() or b""
                nodes.finish(key.decode() if isinstance(key, bytes) else key)
        consumer.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("worker")
@pytest.mark.timeout(7200 if CASES > 1000 else 300)
def test_every_answer_is_as_documented(nodes: Nodes) -> None:
    schema = schemathesis.openapi.from_url(f"{nodes.clients[0].base_url}/openapi.json")
    # Nothing else runs here, so the node is not ready and says so.
    machine: type[schemathesis.stateful.APIStateMachine] = schema.exclude(path="/ready").as_state_machine()

    wrong: list[str] = []

    class Machine(machine):  # type: ignore[misc, valid-type]
        def validate_response(
            self, response: schemathesis.Response, case: schemathesis.Case[Any], **_: object
        ) -> None:
            try:
                case.validate_response(response, checks=CHECKS)
            except schemathesis.core.failures.FailureGroup as failures:
                # Not raised: Hypothesis would try it again, on a log that is not what it was.
                wrong.extend(map(str, failures.exceptions))

    Machine.run(
        settings=settings(
            max_examples=max(1, CASES // STEPS),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            derandomize=CASES <= 1000,
            suppress_health_check=list(HealthCheck),
        )
    )
    assert not wrong, "\n\n".join(wrong[:5])
