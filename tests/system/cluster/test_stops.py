"""SIGTERM: nothing is lost, and nobody is blamed."""

import signal
import threading
from contextlib import suppress

import pytest

from envicutor_client import Client, UnavailableError
from tests.support.polling import eventually
from tests.system.cluster.running import Cluster

pytestmark = pytest.mark.xdist_group("disturbed cluster")

ROLES = [
    *("worker-0", "worker-1", "cache-builder-0", "cache-builder-1", "submission-store-0", "build-store-0"),
    *("health-checker-0", "request-handler-0", "ingest-0"),
]
_BETWEEN_S = 0.3


class Load:
    """A client that goes on submitting until it is told to stop."""

    def __init__(self, cluster: Cluster) -> None:
        self._url = str(cluster.http.base_url)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.ids: list[str] = []

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with Client(self._url) as client:
            while not self._stopping.wait(_BETWEEN_S):
                id = f"load-{len(self.ids)}"
                while not self._stopping.is_set():
                    with suppress(UnavailableError):  # the same request with its id may be sent again
                        client.submit({"id": id, "run": f"sleep 0.5; echo {id}"})
                        self.ids.append(id)
                        break


def test_every_role_one_after_the_other_under_load(cluster: Cluster) -> None:
    with Load(cluster) as load:
        for role in ROLES:
            before = len(load.ids)
            stopped = cluster.signal(role, signal.SIGTERM)
            cluster.restarted(role, stopped)
            eventually(lambda n=before: len(load.ids) > n + 1, "submitting goes on", 120)  # type: ignore[misc]
    for id in load.ids:
        answer = cluster.finished(id)
        assert (answer["outcome"], answer["run"][0]["stdout"]) == ("ok", f"{id}\n"), answer
        ended = cluster.stored(id).ended_attempts if answer["attempt"] > 1 else ()
        assert not any(attempt.charged for attempt in ended), ended


def test_work_that_ends_within_the_grace_period_is_not_done_again(cluster: Cluster) -> None:
    id = cluster.submit({"run": "sleep 1.01; echo done"})
    worker = eventually(lambda: cluster.worker_of("sleep", "1.01"), "it runs", 60)
    stopped = cluster.signal(worker, signal.SIGTERM)
    answer = cluster.finished(id)
    assert (answer["attempt"], answer["run"][0]["stdout"]) == (1, "done\n")
    cluster.restarted(worker, stopped)


def test_work_that_does_not_is_handed_back_at_once_and_not_charged(cluster: Cluster) -> None:
    id = cluster.submit({"run": "sleep 7.01; echo done"})
    worker = eventually(lambda: cluster.worker_of("sleep", "7.01"), "it runs", 60)
    stopped = cluster.signal(worker, signal.SIGTERM)
    answer = cluster.finished(id)
    assert (answer["attempt"], answer["run"][0]["stdout"]) == (2, "done\n")
    assert [(ended.charged, ended.reason) for ended in cluster.stored(id).ended_attempts] == [
        (False, "its worker was stopped")
    ]
    cluster.restarted(worker, stopped)
