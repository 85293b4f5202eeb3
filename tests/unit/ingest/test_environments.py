"""What HTTP shows of a row of `dependencies.store`."""

import json

import pytest

from ingest.routes.environments import _public_row
from topics.dependencies.state import EnvironmentState
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies


def row(owner: str, text: str, *, waiting: bool = False) -> bytes:
    state = EnvironmentState(
        id="d",
        status="queued",
        owner=owner,
        waiting=waiting,
        requested_at_ms=0,
        created_at="t",
        dependencies=Dependencies(nix=text),
        package_set="p",
        system="s",
        limits=DependenciesLimits(),
    )
    return state.model_dump_json().encode()


@pytest.mark.parametrize("text", ["[ ]", '{ "owner": 1; }'])
def test_the_api_key_that_requested_an_environment_is_not_shown(text: str) -> None:
    shown = _public_row(row("key/secret", text))
    assert json.loads(shown) == json.loads(row("", text))
    assert b"secret" not in shown
    assert _public_row(row("", text)) == row("", text)


def test_fields_that_earlier_clients_do_not_know_are_not_shown() -> None:
    assert _public_row(row("", "[ ]", waiting=True)) == row("", "[ ]")
