"""Each example of the OpenAPI document runs as it is printed there."""

import base64
from typing import Any

import pytest

from ingest.examples import REQUESTS
from tests.system.cluster.running import Cluster

pytestmark = pytest.mark.xdist_group("cluster")


@pytest.mark.parametrize("example", REQUESTS.values(), ids=REQUESTS.keys())
def test_each_example_is_accepted(cluster: Cluster, example: dict[str, Any]) -> None:
    answer = cluster.answer(example["value"])
    assert answer["outcome"] == "ok", answer
    assert {run["verdict"] for run in answer["run"]} == {"accepted"}


def test_the_image_comes_back(cluster: Cluster) -> None:
    request = REQUESTS["png"]["value"]
    (file,) = cluster.answer(request)["run"][0]["outputs"]
    assert file["media_type"] == "image/png"
    assert base64.b64decode(file["content"]) == base64.b64decode(request["files"][0]["content"])
