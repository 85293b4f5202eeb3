"""A data folder that an earlier version filled: its environments are built again when they are needed."""

import asyncio
from pathlib import Path

import pytest

from infra.package_sets import pin_in_force
from nix.cache import Cache, InstalledEnvironment
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes, SandboxSettings
from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster
from tests.system.nix.test_formats import build_in_format_1
from topics.dependencies import dependencies_id
from topics.dependencies.facts import FACTS, Installed, Requested
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies
from topics.submissions.acceptance import SYSTEM

pytestmark = pytest.mark.xdist_group("cluster")

PACKAGE = "dc"


def build(cluster: Cluster, settings: NixSettings, pin: str, folder: Path) -> InstalledEnvironment:
    """Build on the cluster's host, beside its own builders."""

    async def build() -> InstalledEnvironment:
        sandboxes = Sandboxes(SandboxSettings())
        await sandboxes.start()
        try:
            cache = Cache(settings, SandboxRunner(sandboxes))
            return await build_in_format_1(cache, settings, pin, (PACKAGE,), folder)
        finally:
            await sandboxes.close()

    return asyncio.run(build())


def record(cluster: Cluster, id: str, pin: str, built: InstalledEnvironment) -> None:
    """Publish the facts of an earlier builder."""
    requested = Requested(
        dependencies=Dependencies(packages=(PACKAGE,)),
        package_set=pin,
        system=SYSTEM,
        limits=DependenciesLimits(),
    )
    installed = Installed(
        attempt=1,
        builder="earlier/0",
        host="earlier",
        store_path=built.store_path,
        variables={},
        packages=tuple(built.packages),
        size_bytes=built.size_bytes,
        wall_time_s=1.0,
    )
    producer = EventProducer(cluster.kafka)
    try:
        topic = cluster.topics.dependencies.events.name
        sent = [
            producer.produce(encode_fact(topic, id, fact, FACTS, "earlier"))
            for fact in (requested, installed)
        ]
        for acknowledgement in sent:
            acknowledgement.result()
    finally:
        producer.close()


def test_the_next_submission_gets_an_environment_of_the_present_format(
    cluster: Cluster, cache_dir: Path, tmp_path: Path
) -> None:
    pin = pin_in_force(cluster.kafka, cluster.topics)
    assert pin
    settings = NixSettings(nix_root=cluster.nix_root, cache_dir=cache_dir)
    old = build(cluster, settings, pin, tmp_path)
    id = dependencies_id(Dependencies(packages=(PACKAGE,)), pin, SYSTEM)
    record(cluster, id, pin, old)

    def stored() -> str:
        answer = cluster.http.get(f"/dependencies/{id}")
        return str(answer.json().get("store_path"))

    eventually(lambda: stored() == old.store_path, "the earlier environment is known", ANSWER_S)
    answers = []
    for _ in range(2):
        submitted = cluster.submit(
            {"dependencies": {"packages": [PACKAGE]}, "run": f"echo 6 7 '*' p | {PACKAGE}"}
        )
        answers.append(cluster.finished(submitted))
    assert [(answer["outcome"], answer["dependencies"]["id"]) for answer in answers] == [("ok", id)] * 2
    paths = {answer["dependencies"]["store_path"] for answer in answers}
    assert old.store_path not in paths
    assert paths == {stored()}
