"""The documents of HTTP and of the topics describe everything that they name."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from infra.documents.schemas import documents
from ingest.app import make_app
from ingest.examples import REQUESTS
from ingest.openapi import ACCEPTED
from ingest.settings import IngestSettings
from nix.settings import NixSettings
from topics.catalogue import catalogue
from topics.contract.schemas import asyncapi
from topics.request.parsing import parse_json
from topics.settings import KafkaSettings
from topics.submissions.stage import Verdict


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    kafka = KafkaSettings(data_dir=tmp_path_factory.mktemp("data"))
    nix = NixSettings(nix_root=tmp_path_factory.mktemp("nix"))
    return make_app(kafka, catalogue(kafka), IngestSettings(), nix, "reference").openapi()


def of_model(name: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield what of an object's schema has no description."""
    if not schema.get("description"):
        yield name
    for field, described in schema.get("properties", {}).items():
        if not described.get("description"):
            yield f"{name}.{field}"


def test_each_operation_and_parameter_is_described(openapi: dict[str, Any]) -> None:
    bare = []
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            described = [operation, *operation.get("parameters", [])]
            bare += [f"{method} {path}" for part in described if not part.get("description")]
            assert operation["summary"] != operation["operationId"]
    assert bare == []


def test_each_parameter_has_a_name_of_http(openapi: dict[str, Any]) -> None:
    operations = [operation for each in openapi["paths"].values() for operation in each.values()]
    names = {parameter["name"] for each in operations for parameter in each.get("parameters", [])}
    assert "If-None-Match" in names
    assert not {name for name in names if not name[:1].isalpha()}


def test_headers_of_responses_and_words_of_verdicts_are_described(openapi: dict[str, Any]) -> None:
    accepted = openapi["paths"]["/submissions"]["post"]["responses"]
    assert {"Location"} == accepted["202"]["headers"].keys() == accepted["200"]["headers"].keys()
    assert accepted["202"]["description"] == ACCEPTED["description"]
    assert accepted["202"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Answer"}
    assert "Retry-After" in accepted["503"]["headers"]
    for path in ("/submissions/{id}", "/submissions/{id}/request", "/submissions/{id}/outputs/{case}/{name}"):
        responses = openapi["paths"][path]["get"]["responses"]
        assert "ETag" in responses["200"]["headers"].keys() & responses["304"]["headers"].keys()
    verdict = openapi["components"]["schemas"]["RunStage"]["properties"]["verdict"]
    assert [word for word in get_args(Verdict) if f"`{word}`:" not in verdict["description"]] == []


def test_each_model_and_field_is_described(openapi: dict[str, Any]) -> None:
    schemas = openapi["components"]["schemas"]
    assert [bare for name, schema in schemas.items() for bare in of_model(name, schema)] == []


@pytest.mark.parametrize("name", [name for name in documents() if name != "asyncapi.json"])
def test_each_field_on_a_topic_is_described(name: str) -> None:
    schema = parse_json(documents()[name].encode())
    bare = list(of_model(name, schema))
    bare += [part for key, model in schema.get("$defs", {}).items() for part in of_model(key, model)]
    assert bare == []


def test_each_channel_message_and_header_is_described() -> None:
    settings = KafkaSettings()
    document = asyncapi(settings, catalogue(settings))
    bare = [name for name, found in document["operations"].items() if not found["summary"]]
    for name, channel in document["channels"].items():
        bare += [] if channel["description"] else [name]
        for kind, message in channel["messages"].items():
            bare += [] if message["summary"] else [f"{name} {kind}"]
            bare += [f"{name} {part}" for part in of_model(kind, {"description": "-"} | message["headers"])]
    assert bare == []


def test_a_reader_of_the_document_alone_finds_the_answers(openapi: dict[str, Any]) -> None:
    """Four questions of new users, and what answers each: newcomers read no other document."""
    schemas, paths = openapi["components"]["schemas"], openapi["paths"]
    assert "trailing blank" in schemas["LineComparison"]["description"]
    assert "also after one" in schemas["TestCase"]["description"]
    assert "run[2].cpu_time_s" in paths["/submissions/{id}"]["get"]["description"]
    assert REQUESTS["png"]["value"]["files"][0]["encoding"] == "base64"
    body = paths["/submissions"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"] == REQUESTS
