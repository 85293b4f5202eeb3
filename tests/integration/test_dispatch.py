"""Direct dispatch on a real broker: what ingest enqueues, and what the SubmissionStore owes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message

from tests.integration.http.nodes import Nodes
from tests.support.polling import eventually
from tests.support.store_instances import REQUEST, SESSION_TIMEOUT_MS, StoreInstances
from tests.support.submissions import STARTED
from topics.kafka.codec import HOPS, Record, encode, header
from topics.kafka.scan import read_to_end
from topics.leases import CapacityReport
from topics.settings import KafkaSettings
from topics.submissions.state import Submission, Work

DIRECT = REQUEST.replace(dispatch="direct")


@pytest.fixture
def stores(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[StoreInstances]:
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, session_timeout_ms=SESSION_TIMEOUT_MS
    )
    system = StoreInstances(settings, tmp_path)
    yield system
    system.close()


def queued(system: StoreInstances) -> list[tuple[bytes | str | None, str | None]]:
    return [(message.key(), header(message, HOPS)) for message in system.read(system.family.queue.name)]


def test_what_a_killed_request_handler_promised_is_enqueued_also_by_the_next_instance(
    stores: StoreInstances,
) -> None:
    stores.say(("lost", DIRECT), ("taken", DIRECT), ("taken", STARTED), ("refused", DIRECT))
    stores.say(("refused", STARTED.replace(attempt=2)))
    first = stores.start()
    stores.wait_folded()
    first.kill()
    first.wait()
    rows = {id: Submission.read(row) for id, row in stores.rows().items()}
    assert {id for id, state in rows.items() if state.owed} == {"lost", "refused"}
    assert queued(stores) == [], "nothing is due yet"

    stores.start()
    eventually(lambda: len(queued(stores)) == 2, "the store pays what it owes")
    assert sorted(queued(stores)) == [(b"lost", "0"), (b"refused", "0")]
    assert {id: Submission.read(row) for id, row in stores.rows().items()} == rows, "no event, no change"


def test_submissions_wait_in_the_store_and_owners_take_turns(stores: StoreInstances) -> None:
    of_a, of_b = (REQUEST.replace(dispatch="turn", source="http", owner=owner) for owner in "ab")
    stores.say(*((f"a{number}", of_a) for number in range(30)))
    stores.say(("b0", of_b), ("b1", of_b.replace(interactive=True)))
    stores.start()
    stores.wait_folded()
    eventually(lambda: queued(stores), "some are enqueued")
    order: list[bytes | str | None] = []
    while len(order) < 10:  # a worker that starts one at a time
        [(key, _), *_] = [each for each in queued(stores) if each[0] not in order]
        assert isinstance(key, bytes)
        assert len(queued(stores)) <= len(order) + 20, "most of them wait in the store"
        order.append(key)
        stores.say((key.decode(), STARTED))
        eventually(lambda: {each[0] for each in queued(stores)} - set(order), "the next one")
    assert {b"b0", b"b1"} <= set(order[:7])
    assert {b"a0", b"a1", b"a2", b"a3"} <= set(order), "the oldest go first"


def test_a_node_enqueues_what_a_worker_has_room_for(kafka: str, tmp_path: Path) -> None:
    with Nodes(kafka, tmp_path, count=1) as nodes:
        client, family = nodes.clients[0], nodes.topics.submissions
        report = CapacityReport(worker="w", partitions=(3,), free=2)

        def dispatched() -> Message | None:
            """Post until the node has read the worker's free slots."""
            nodes.produce(Record(family.slots.name, b"w", encode(report), []))
            for waiting in client.get("/submissions?status=queued").json()["submissions"]:
                nodes.start(waiting["id"])
            id = nodes.submit()
            eventually(lambda: id.encode() in keys(), "it is on the queue")
            [message] = [m for m in read_to_end(nodes.kafka, family.queue.name) if m.key() == id.encode()]
            return message if (header(message, "ce_source") or "").startswith("/envicutor/ingest/") else None

        def keys() -> list[bytes | str | None]:
            return [message.key() for message in read_to_end(nodes.kafka, family.queue.name)]

        message = eventually(dispatched, "the node dispatches")
        assert message.partition() == 3
        assert header(message, HOPS) is None
        work = Work.read(message.value())
        assert work.id.encode() == message.key()
        assert work.attempt == 1
        nodes.start(work.id)

        named = client.post("/submissions", json={"id": "mine", "run": "true"})
        assert named.json()["id"] == "mine"
        for run, status in (("true", 202), ("false", 409)):
            assert client.post("/submissions", json={"id": "mine", "run": run}).status_code == status
        eventually(lambda: b"mine" in keys(), "the node dispatches an id that a client chose")
        [of_node] = [m for m in read_to_end(nodes.kafka, family.queue.name) if m.key() == b"mine"]
        assert (header(of_node, "ce_source") or "").startswith("/envicutor/ingest/")
        assert b'"true"' in (of_node.value() or b"")
