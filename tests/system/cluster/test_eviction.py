"""A cache with room for next to nothing: environments go, and come again when somebody asks for them."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import Cluster
from topics.kafka.codec import decode_key, header
from topics.kafka.scan import read_to_end

pytestmark = pytest.mark.xdist_group("eviction")


@pytest.fixture(scope="module")
def cluster(cache_dir: Path) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-eviction-"))
    folder.chmod(0o755)
    cluster = Cluster(folder, cache_dir, settings={"CACHE_LIMIT_BYTES": 64 << 20})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def run(cluster: Cluster, package: str, command: str) -> dict[str, Any]:
    return cluster.answer({"dependencies": {"packages": [package]}, "run": ["sh", "-c", command]})


def evictions(cluster: Cluster) -> list[str]:
    return [
        decode_key(message)
        for message in read_to_end(cluster.kafka, cluster.topics.dependencies.events.name)
        if header(message, "ce_type") == "envicutor.dependencies.evicted.v1"
    ]


def test_an_evicted_environment_is_built_again_when_it_is_asked_for(cluster: Cluster) -> None:
    first = run(cluster, "lua5.4", "lua5.4 -e 'print(6 * 7)'")
    assert first["outcome"] == "ok", first
    lua = first["dependencies"]["id"]
    limits = {"run": {"wall_time_s": 60}}
    uses = {"packages": ["nasm"]}
    slow = cluster.submit({"dependencies": uses, "run": ["sleep", "59"], "limits": limits})
    used = eventually(lambda: cluster.get(slow)["dependencies"], "nasm is in use", 60)["id"]
    for package in ("gawk", "jq", "bc", "file", "tree", "less", "patch"):
        if lua in evictions(cluster):
            break
        assert run(cluster, package, "true")["outcome"] == "ok"
    assert lua in evictions(cluster)
    assert used not in evictions(cluster), "what is in use stays"
    assert cluster.get(slow)["status"] == "dependencies_installed"
    cluster.http.delete(f"/submissions/{slow}")
    again = run(cluster, "lua5.4", "lua5.4 -e 'print(6 * 7)'")
    assert (again["outcome"], again["run"][0]["stdout"]) == ("ok", "42\n")
    assert not again["dependencies"]["cached"]
    assert cluster.http.get("/ready").status_code == 200, "the base stays"
    assert cluster.verify().returncode == 0
