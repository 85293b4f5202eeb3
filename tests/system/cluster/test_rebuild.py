"""A store is made anew while clients submit: they are answered, and the audit is clean."""

import os
import subprocess
import sys

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import Cluster
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record
from topics.kafka.scan import read_to_end
from topics.submissions.state import Submission

pytestmark = pytest.mark.xdist_group("disturbed cluster")


def final_row(cluster: Cluster, id: str) -> bytes | None:
    """The row of a submission that has ended."""
    rows = {m.key(): m.value() for m in read_to_end(cluster.kafka, cluster.topics.submissions.store.name)}
    row = rows.get(id.encode())
    return row if isinstance(row, bytes) and Submission.read(row).final else None


def test_a_store_is_made_anew_while_clients_submit(cluster: Cluster) -> None:
    done = cluster.answer({"run": "echo done"})
    topic = cluster.topics.submissions.store.name
    row = eventually(lambda: final_row(cluster, done["id"]), "the store has the end; the answer came before")
    producer = EventProducer(cluster.kafka)
    producer.produce(Record(topic, done["id"].encode(), row.replace(b"done", b"gone"), [])).result(60)
    producer.produce(Record(topic, b"invented", row.replace(done["id"].encode(), b"invented"), [])).result(60)
    producer.close()
    eventually(lambda: cluster.http.get("/submissions/invented").status_code == 200, "ingest reads it", 60)
    before = [cluster.submit({"run": f"echo before-{n}"}) for n in range(5)]

    rebuild = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "rebuild", "submissions"],
        env=os.environ | {"ENVICUTOR_BOOTSTRAP_SERVERS": cluster.kafka.bootstrap_servers},
    )
    meanwhile = [cluster.submit({"run": f"echo meanwhile-{n}"}) for n in range(5)]
    assert rebuild.wait(120) == 0

    assert [cluster.finished(id)["run"][0]["stdout"] for id in (*before, *meanwhile)] == [
        f"{when}-{n}\n" for when in ("before", "meanwhile") for n in range(5)
    ]
    eventually(lambda: cluster.get(done["id"]) == done, "ingest shows the answer that was given", 60)
    assert cluster.http.get("/submissions/invented").status_code == 404
    assert all(cluster.stored(id).ended_attempts == () for id in (*before, *meanwhile))
    audit = cluster.verify()
    assert audit.returncode == 0, audit.stdout
    assert "is sealed before offset" in audit.stdout
