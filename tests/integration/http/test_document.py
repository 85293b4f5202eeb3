"""What the OpenAPI document says holds for whatever is sent: no fault, and no answer that it does not tell.

`make soak-http` tries thousands of cases.
"""

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from confluent_kafka import Consumer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.http.nodes import Nodes
from topics.kafka.clients import consumer_config

pytestmark = pytest.mark.xdist_group("http")

CASES = int(os.environ.get("HTTP_CASES", "400"))
CALLS = 10
"""In a row."""
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


def calls(schema: Any) -> st.SearchStrategy[list[tuple[Any, int | None]]]:
    """Requests, one after the other; with a number, of a submission that was made before, or that makes one.

    (A state machine of schemathesis draws by what was answered. A log does not answer the same twice, so
    Hypothesis would give up.)
    """
    operations = [found.ok() for found in schema.get_all_operations()]
    cases = st.one_of([operation.as_strategy() for operation in operations])
    return st.lists(st.tuples(cases, st.none() | st.integers(0, 1000)), min_size=CALLS, max_size=CALLS)


@pytest.mark.usefixtures("worker")
@pytest.mark.timeout(7200 if CASES > 1000 else 300)
def test_every_answer_is_as_documented(nodes: Nodes) -> None:
    document = schemathesis.openapi.from_url(f"{nodes.clients[0].base_url}/openapi.json")
    # Nothing else runs here: the node is not ready, and has no package set.
    schema = document.exclude(path=["/ready", "/packages", "/languages"])
    ids = [nodes.submit(), nodes.finished()]
    wrong: list[str] = []

    @settings(
        max_examples=CASES // CALLS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        derandomize=CASES <= 1000,
        suppress_health_check=list(HealthCheck),
    )
    @given(calls(schema))
    def ask(sequence: list[tuple[Any, int | None]]) -> None:
        for case, number in sequence:
            submits = (case.method, case.path) == ("POST", "/submissions")
            if number is not None and "id" in (case.path_parameters or {}):
                case.path_parameters["id"] = ids[number % len(ids)]
            elif number is not None and submits:
                case.body = {"run": "true", "tags": [f"number={number}"]}
            response = case.call()
            try:
                case.validate_response(response, checks=CHECKS)
            except FailureGroup as failures:
                wrong.extend(map(str, failures.exceptions))
            if submits and response.status_code in {200, 202}:
                ids.append(response.json()["id"])

    ask()
    assert not wrong, "\n\n".join(wrong[:5])
    assert len(ids) > 2
