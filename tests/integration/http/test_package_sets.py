"""Requests and searches name a package set; those that name none have the default one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.http.nodes import Nodes
from tests.support.polling import eventually
from tests.support.submissions import PINS, package_sets
from tests.unit.nix.packages import paragraph, write_package_set
from topics.kafka.scan import read_to_end
from topics.submissions.facts import Requested

REFUSED = "there is no package set 'debian-14'; offered: debian-12, debian-13"


@pytest.fixture(scope="module", autouse=True)
def two_sets(nodes: Nodes) -> None:
    for record in package_sets(nodes.topics, PINS.pins):
        nodes.produce(record)
    for client in nodes.clients:
        body = {"run": "true", "package_set": "debian-13"}
        eventually(
            lambda: client.post("/submissions", json=body).status_code == 202,  # noqa: B023
            "the node has read the package sets",
        )


def requested(nodes: Nodes, id: str) -> Requested:
    messages = read_to_end(nodes.kafka, nodes.topics.submissions.events.name)
    return next(Requested.read(m.value() or b"") for m in messages if m.key() == id.encode())


def test_a_request_is_pinned_to_the_set_that_it_names(nodes: Nodes) -> None:
    body = {"language": "python", "files": [{"name": "main.py", "content": "print(1)"}]}
    default, twelve, thirteen = (
        requested(nodes, nodes.submit(body | more))
        for more in ({}, {"package_set": "debian-12"}, {"package_set": "debian-13"})
    )
    assert [fact.package_set for fact in (default, twelve, thirteen)] == ["pin", "pin", "pin-13"]
    assert default.dependencies_id == twelve.dependencies_id != thirteen.dependencies_id
    assert thirteen.request.package_set == "debian-13"


def test_the_stored_request_has_the_name(nodes: Nodes) -> None:
    id = nodes.submit({"run": "true", "package_set": "debian-13"})
    assert nodes.clients[1].get(f"/submissions/{id}/request").json()["package_set"] == "debian-13"


def test_an_unknown_name_is_refused_with_those_that_are_offered(nodes: Nodes) -> None:
    answer = nodes.clients[0].post("/submissions", json={"run": "true", "package_set": "debian-14"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "package_set", "message": REFUSED, "limit": None}]


def test_packages_are_those_of_the_named_set(nodes: Nodes) -> None:
    client = nodes.clients[0]
    with package_set(nodes, "pin", "3.11.2"), package_set(nodes, "pin-13", "3.13.5"):
        found = [
            client.get("/packages", params={"q": "python3"} | more).json()
            for more in ({}, {"package_set": "debian-12"}, {"package_set": "debian-13"})
        ]
    assert [(page["package_set"], page["packages"][0]["version"]) for page in found] == [
        ("pin", "3.11.2"),
        ("pin", "3.11.2"),
        ("pin-13", "3.13.5"),
    ]
    refused = client.get("/packages", params={"package_set": "debian-14"})
    assert (refused.status_code, refused.json()["detail"]) == (422, f"query.package_set: {REFUSED}")


def test_the_command_lists_names_pins_and_the_default(nodes: Nodes) -> None:
    lines = [line.split("\t") for line in nodes.command("packages", "list").splitlines()]
    assert lines == [["debian-12", "pin", "now", "default"], ["debian-13", "pin-13", "now", ""]]


@contextmanager
def package_set(nodes: Nodes, pin: str, version: str) -> Iterator[None]:
    """A package set of one package on the nodes' host."""
    folder: Path = write_package_set(nodes.nix.cache_dir, pin, paragraph("python3", version))
    (folder / "pkgs").mkdir()
    (folder / "pkgs/names.json").write_text('{"base": [], "packages": [], "aliases": {}, "sets": {}}')
    try:
        yield
    finally:
        shutil.rmtree(folder)
