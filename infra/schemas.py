"""Generator of docs/schemas, the contract of public topics: `python -m infra.schemas` (`make schemas`)."""

import json
from pathlib import Path
from typing import Any

from topics.catalogue import catalogue
from topics.contract.schemas import all_said, asyncapi, schema
from topics.settings import KafkaSettings

DIRECTORY = Path(__file__).parents[1] / "docs" / "schemas"


def documents() -> dict[str, str]:
    """Return the text of each document by its file name in `DIRECTORY`."""
    settings = KafkaSettings.model_construct()  # the defaults, whatever variables the environment has
    topics = catalogue(settings)
    schemas = {f"{said.name}.json": _text(schema(said)) for said in all_said(topics)}
    return schemas | {"asyncapi.json": _text(asyncapi(settings, topics))}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write all documents to `DIRECTORY`, and remove those that the code no longer defines."""
    DIRECTORY.mkdir(exist_ok=True)
    wanted = documents()
    for path in DIRECTORY.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (DIRECTORY / name).write_text(text)


if __name__ == "__main__":
    write()
