"""Packages of PyPI without a version, over HTTP, with an index on this machine."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from nix.settings import NixSettings
from tests.integration.http.nodes import Nodes
from tests.support.registry import put_python, registry

pytestmark = pytest.mark.xdist_group("http")


def submit(client: httpx.Client, *pypi: str, **fields: Any) -> httpx.Response:
    return client.post("/submissions", json={"run": "true", "dependencies": {"pypi": pypi}} | fields)


def pins(client: httpx.Client, id: str) -> list[str]:
    return list(client.get(f"/submissions/{id}/request").json()["dependencies"]["pypi"])


def test_versions_are_resolved_once(kafka: str, tmp_path: Path) -> None:
    put_python(tmp_path)
    nodes = Nodes(kafka, tmp_path / "nodes", count=1)
    with ExitStack() as stack:
        index = stack.enter_context(ExitStack())
        served = index.enter_context(registry(tmp_path))
        for version in ("1.0", "1.1", "2.0rc1"):
            served.wheel("words", version, {})
        nodes.nix = NixSettings(cache_dir=tmp_path).model_copy(update=served.settings)
        client = stack.enter_context(nodes).clients[0]

        assert submit(client, "Words>=1", "greeting==7", id="mine").status_code == 202
        assert pins(client, "mine") == ["greeting==7", "words==1.1"]
        served.wheel("words", "1.2", {})  # the versions of a project are kept for a while
        assert submit(client, "words", id="later").status_code == 202
        assert pins(client, "later") == ["words==1.1"]
        assert served.asked == ["/simple/words/"]

        refused = submit(client, "words", "wards", "words2==1")
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == ["dependencies.pypi.1"]
        assert "no package of this name" in refused.json()["detail"]

        index.close()
        gone = submit(client, "greeting")
        assert (gone.status_code, gone.headers["retry-after"]) == (503, "2")
        assert "the index of PyPI packages failed" in gone.json()["detail"]
        assert submit(client, "Words>=1", "greeting==7", id="mine").status_code == 202
