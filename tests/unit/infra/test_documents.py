"""The generated references are those of the code, and complete."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

import infra.commands.known_settings  # noqa: F401 - imports every class of settings
from infra.documents import GENERATED
from infra.documents.settings import SECTIONS
from infra.kafka.gateway.settings import GatewayAddresses

PACKAGES = {"infra", "ingest", "nix", "processors", "topics", "envicutor_client"}
SET_BY_UP = {GatewayAddresses}
"""Classes whose variables only `up` sets, for a process of its own."""


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_files_are_those_of_the_code(path: Path) -> None:
    """If not: `make docs`."""
    assert path.read_text() == GENERATED[path]()


def all_settings(below: type[BaseSettings] = BaseSettings) -> Iterator[type[BaseSettings]]:
    for settings in below.__subclasses__():
        if settings.__module__.split(".")[0] in PACKAGES:
            yield settings
        yield from all_settings(settings)


def test_every_class_of_settings_has_a_section() -> None:
    assert set(all_settings()) - SET_BY_UP == set(SECTIONS.values())


@pytest.mark.parametrize("settings", SECTIONS.values(), ids=lambda settings: settings.__name__)
def test_every_setting_has_a_description(settings: type[BaseSettings]) -> None:
    assert [name for name, field in settings.model_fields.items() if not field.description] == []
