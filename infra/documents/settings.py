"""Generator of docs/settings.md, the reference of all settings, from their classes."""

import json
from typing import Any

from pydantic_settings import BaseSettings

from envicutor_client.cli.client import ClientSettings
from infra.kafka.gateway.settings import GatewaySettings
from infra.settings import LocalSettings
from ingest.settings import IngestSettings
from nix.settings import NixSettings
from processors.health_checker.settings import HealthCheckerSettings
from processors.sandbox import SandboxSettings
from processors.settings import LeaseSettings, SealerSettings, WebhookSettings, WorkSettings
from topics.disk import DiskSettings
from topics.settings import KafkaSettings, SubmissionSettings

SECTIONS: dict[str, type[BaseSettings]] = {
    "The system on one machine": LocalSettings,
    "HTTP": IngestSettings,
    "Submissions": SubmissionSettings,
    "Leases": LeaseSettings,
    "Workers and cache builders": WorkSettings,
    "Sandboxes": SandboxSettings,
    "Environments": NixSettings,
    "Disk space": DiskSettings,
    "Kafka": KafkaSettings,
    "Connections of Kafka clients": GatewaySettings,
    "Health checkers": HealthCheckerSettings,
    "Webhooks": WebhookSettings,
    "Seals": SealerSettings,
    "Commands and clients": ClientSettings,
}
"""Classes of settings by the heading of their section. A variable of several classes is listed once."""

_HEAD = """\
<!-- Generated from the classes of settings by `make docs`. Do not edit. -->
# Settings

Settings are environment variables. Lists and objects are JSON. `envicutor up` reads all settings before it
starts anything. It explains wrong values, and warns of variables that begin with `ENVICUTOR_` and are no
setting. Roles inherit the environment of `up`, which sets their addresses, folders and users
itself.

Descriptions name other settings without `ENVICUTOR_`. In the sections of sandboxes and of Kafka connections,
they leave out the prefix of the section, too. If `up` has another data folder or other ports than the
defaults, the commands need `ENVICUTOR_DATA_DIR`, `ENVICUTOR_SERVER` and `ENVICUTOR_BOOTSTRAP_SERVERS`.
"""
_TYPES = {
    "boolean": "true or false",
    "integer": "integer",
    "number": "number",
    "string": "text",
    "array": "list",
    "object": "object",
}
_UNITS = {"_ms": "ms", "_s": "s", "_bytes": "bytes", "_days": "days"}
_BOUNDS = {"minimum": "at least {}", "exclusiveMinimum": "more than {}", "maximum": "at most {}"}
_BINARY = {"GiB": 1 << 30, "MiB": 1 << 20}


def document() -> str:
    """Return the text of docs/settings.md."""
    listed: set[str] = set()
    return _HEAD + "".join(_section(title, settings, listed) for title, settings in SECTIONS.items())


def _section(title: str, settings: type[BaseSettings], listed: set[str]) -> str:
    """Return the section of one class, and add its variables to `listed`."""
    schema = settings.model_json_schema()
    rows = ""
    for name, field in schema["properties"].items():
        variable = f"{settings.model_config['env_prefix']}{name}".upper()
        if variable not in listed:
            listed.add(variable)
            about = _line(field["description"])
            rows += f"| `{variable}` | {_values(name, field)} | {_default(name, field)} | {about} |\n"
    about = _line(schema["description"])
    return f"\n## {title}\n\n{about}\n\n| variable | values | default | |\n|---|---|---|---|\n{rows}"


def _line(text: str) -> str:
    """Return a docstring as one line, since a cell of a table has only one."""
    return " ".join(text.split())


def _values(name: str, field: dict[str, Any]) -> str:
    """Return type, unit and bounds, such as `number, s, more than 0`."""
    field = field.get("anyOf", [field])[0]  # the other one is null: not set
    if permitted := field.get("enum"):
        return ", ".join(f"`{value}`" for value in permitted)
    kind = (
        "path" if field.get("format") == "path" else _TYPES[field.get("type", "object")]
    )  # a model is a reference
    unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), None)
    bounds = (text.format(_number(name, field[key])) for key, text in _BOUNDS.items() if key in field)
    return ", ".join((kind, *([unit] if unit else ()), *bounds))


def _default(name: str, field: dict[str, Any]) -> str:
    if "default" not in field:
        return "computed"
    match field["default"]:
        case None | "":
            return "none"
        case bool(value):
            return str(value).lower()
        case int(value) | float(value):
            return _number(name, value)
        case str(value):
            return f"`{value}`"
        case value:
            return f"`{json.dumps(value)}`"


def _number(name: str, value: float) -> str:
    """Return a number; bytes in the largest binary unit that is whole."""
    if name.endswith("_bytes"):
        for unit, size in _BINARY.items():
            if value and value % size == 0:
                return f"{value // size:g} {unit}"
    return f"{value:g}" if isinstance(value, float) else str(value)
