"""Records the log of a busy system: every example, clients of every kind, faults, what is refused.

`python -m tests.support.busy_system FILE`; needs root, and takes some minutes.
"""

import asyncio
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from confluent_kafka import Producer

from infra.demo import load_examples
from infra.settings import LocalSettings
from tests.chaos.__main__ import OPTIONS, SETTINGS, TARGETS, chaos
from tests.chaos.faults import KINDS, Faults
from tests.support import recorded_log
from tests.support.registry import publish_greeting, registry
from tests.system.cluster.running import Cluster
from topics.kafka.clients import connection
from topics.submissions.facts import CANCEL

CHAOS_S = 120.0
REFUSED = (b"{", b'{"run": 5}', b'{"run": "true", "unknown": 1}', b"\xff\x00")
"""Values on `submissions.requests` that are answered with a rejection."""


def requests() -> Iterator[dict[str, Any]]:
    """Requests that use each field, and programs that exceed each limit."""
    yield from (dict(example.request) for example in load_examples())
    yield {
        "run": ["cat"],
        "test_cases": [{"input": "1\n", "expected_output": "1"}, {"input": "2", "args": ["x"]}],
    }
    yield {"compile": "exit 3", "run": "true"}
    yield {"run": "exit 4", "env": {"A": "b"}, "tags": ["course=42", "exam"]}
    yield {"run": "kill -9 $$", "files": [{"name": "a/b", "content": "61", "encoding": "hex"}]}
    yield {"run": "printf '\\377'; printf 'ä' >&2; echo x > out; ln -s out link", "outputs": ["*"]}
    for name, value, run in (
        ("wall_time_s", 0.2, "sleep 5"),
        ("cpu_time_s", 0.2, "while :; do :; done"),
        ("memory_bytes", 16 << 20, "dd if=/dev/zero of=/dev/null bs=64M"),
        ("processes", 4, "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"),
        ("stdout_bytes", 100, "yes"),
        ("stderr_bytes", 100, "yes >&2"),
        ("box_bytes", 1 << 20, "yes > x"),
        ("box_files", 10, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do : > $i; done"),
        ("file_size_bytes", 1000, "yes > x"),
    ):
        yield {"run": run, "limits": {"run": {name: value}}}
    yield {
        "run": "true",
        "dependencies": {"packages": ["hello"]},
        "limits": {"dependencies": {"wall_time_s": 1}},
    }


def main(path: Path) -> None:
    """Run the system, and write its events and stores to `path`."""
    folder = Path(tempfile.mkdtemp(prefix="envicutor-busy-"))
    folder.chmod(0o755)
    (folder / "registry").mkdir(mode=0o755)
    with registry(folder / "registry") as served:
        publish_greeting(served)
        registries = {name.upper(): value for name, value in served.settings.items()}
        settings = SETTINGS | registries | {"CACHE_LIMIT_BYTES": 400 << 20}
        cluster = Cluster(folder, LocalSettings().cache_dir, *OPTIONS, settings=settings)
        try:
            cluster.start()
            run = asyncio.run(chaos(cluster, "busy", CHAOS_S, Faults(cluster, "busy", TARGETS, KINDS)))
            typer.echo("\n".join(run.complaints))
            _submit_all(cluster)
            families = (cluster.topics.submissions, cluster.topics.dependencies)
            topics = [topic.name for family in families for topic in (family.events, family.store)]
            typer.echo(f"{recorded_log.write(path, cluster.kafka, topics)} records")
        finally:
            cluster.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _submit_all(cluster: Cluster) -> None:
    producer = Producer(connection(cluster.kafka))
    for value in REFUSED:
        producer.produce("submissions.requests", value, str(uuid.uuid4()))
    ids = [cluster.submit(request) for request in requests()]
    for key in ("again", "again"):
        answer = cluster.http.post("/submissions", json={"run": "true"}, headers={"Idempotency-Key": key})
        ids.append(answer.json()["id"])
    cancelled = cluster.submit({"run": "sleep 60", "limits": {"run": {"wall_time_s": 60}}})
    producer.produce("submissions.requests", None, cancelled, headers={"ce_type": CANCEL.encode()})
    producer.flush(30)
    for id in (*ids, cancelled):
        cluster.finished(id, 600)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
