"""Lists of submissions: newest first, filtered, page by page, also after a restart."""

import uuid
from functools import partial
from typing import Any

import pytest

from tests.integration.http.nodes import Nodes
from tests.support.polling import eventually

pytestmark = pytest.mark.xdist_group("http")


def listed(nodes: Nodes, node: int = 0, **query: Any) -> dict[str, Any]:
    answer = nodes.clients[node].get("/submissions", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ids(nodes: Nodes, node: int = 0, **query: Any) -> list[str]:
    """Of all pages."""
    found, cursor = [], None
    while True:
        page = listed(nodes, node, **query, **({"cursor": cursor} if cursor else {}))
        found += [submission["id"] for submission in page["submissions"]]
        if (cursor := page["next"]) is None:
            return found


@pytest.fixture(scope="module")
def tagged(nodes: Nodes) -> tuple[str, list[str]]:
    """A tag of our own, and what has it, in the order of creation: ok, failed, cancelled, queued, queued."""
    tag = f"list={uuid.uuid4().hex}"
    request = {"run": "true", "tags": [tag, "shared"]}
    ended = [nodes.finished(request), nodes.finished(request, outcome="run_failed")]
    cancelled, *queued = (nodes.submit(request) for _ in range(3))
    assert nodes.clients[0].delete(f"/submissions/{cancelled}").is_success
    everything = [*ended, cancelled, *queued]
    for node in (0, 1):
        eventually(partial(_all_listed, nodes, node, tag), "all are listed as what they are")
    return tag, everything


def _all_listed(nodes: Nodes, node: int, tag: str) -> bool:
    found = listed(nodes, node, tag=tag)["submissions"]
    return [each["status"] for each in found] == ["queued", "queued", "cancelled", "finished", "finished"]


@pytest.mark.parametrize("node", [0, 1])
def test_newest_first_and_in_pages(nodes: Nodes, tagged: tuple[str, list[str]], node: int) -> None:
    tag, everything = tagged
    assert ids(nodes, node, tag=tag) == everything[::-1]
    assert ids(nodes, node, tag=tag, limit=2) == everything[::-1]
    newest = ids(nodes, node, limit=3)
    assert newest[: len(everything)] == everything[::-1]
    assert len(set(newest)) == len(newest)


def test_filters(nodes: Nodes, tagged: tuple[str, list[str]]) -> None:
    tag, everything = tagged
    ok, failed, cancelled, *queued = everything
    assert ids(nodes, tag=tag, outcome="ok") == [ok]
    assert ids(nodes, tag=tag, outcome="run_failed", status="finished") == [failed]
    assert ids(nodes, tag=tag, status="cancelled") == [cancelled]
    assert ids(nodes, tag=tag, status="queued") == queued[::-1]
    assert ids(nodes, tag="nobody-has-it") == []
    assert ids(nodes, tag=[tag, "shared"]) == everything[::-1]
    for tags in ([tag, "nobody-has-it"], ["nobody-has-it", tag]):
        assert ids(nodes, tag=tags) == []
    assert set(ids(nodes, status="finished")) >= {ok, failed}
    created_at = listed(nodes, tag=tag, outcome="run_failed")["submissions"][0]["created_at"]
    assert ids(nodes, tag=tag, created_before=created_at) == [ok]
    assert ids(nodes, tag=tag, created_from=created_at) == [*queued[::-1], cancelled, failed]


def test_what_is_told_of_each(nodes: Nodes, tagged: tuple[str, list[str]]) -> None:
    tag, (ok, *_) = tagged
    (found,) = listed(nodes, tag=tag, outcome="ok")["submissions"]
    answer = nodes.clients[0].get(f"/submissions/{ok}").json()
    fields = ("id", "status", "attempt", "created_at", "finished_at", "outcome")
    assert found == {field: answer[field] for field in fields} | {"tags": [tag, "shared"], "owner": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 201}, "query.limit"),
        ({"cursor": "x"}, "query.cursor"),
        ({"cursor": "/////w=="}, "query.cursor"),
        ({"status": "running"}, "query.status"),
        ({"tag": "two words"}, "query.tag.0"),
        ({"created_from": "yesterday"}, "query.created_from"),
        ({"colour": "red"}, "query.colour"),
    ],
)
def test_bad_questions_name_the_parameter(nodes: Nodes, query: dict[str, Any], field: str) -> None:
    answer = nodes.clients[0].get("/submissions", params=query)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_tags_are_short_and_few(nodes: Nodes) -> None:
    for tags in (["two words"], ["x" * 65], ["x"] * 17):
        answer = nodes.clients[0].post("/submissions", json={"run": "true", "tags": tags})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"].startswith("tags")
