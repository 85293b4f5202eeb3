"""Generator of docs/schemas, the contract of the public topics: JSON Schemas and AsyncAPI."""

import json
from pathlib import Path
from typing import Any

from topics.catalogue import catalogue
from topics.contract.schemas import asyncapi, message_types, schema
from topics.settings import KafkaSettings

DIRECTORY = Path(__file__).parents[2] / "docs" / "schemas"


def documents() -> dict[str, str]:
    """Return the text of each document by its file name in `DIRECTORY`."""
    settings = KafkaSettings.model_construct()  # the defaults, without the environment
    topics = catalogue(settings)
    schemas = {f"{type_.name}.json": _text(schema(type_)) for type_ in message_types(topics)}
    return schemas | {"asyncapi.json": _text(asyncapi(settings, topics))}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write all documents to `DIRECTORY`, and delete JSON files of documents that no longer exist."""
    DIRECTORY.mkdir(exist_ok=True)
    wanted = documents()
    for path in DIRECTORY.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (DIRECTORY / name).write_text(text)
