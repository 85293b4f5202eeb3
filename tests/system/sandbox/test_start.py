"""A worker does not start where limits would not hold."""

import asyncio

import pytest

from processors.sandbox import SandboxError, Sandboxes, SandboxSettings, sandboxes
from processors.sandbox.orders import root_orders
from tests.system.sandbox.laboratory import Laboratory


def start(settings: SandboxSettings) -> None:
    asyncio.run(Sandboxes(settings).start())


@pytest.mark.usefixtures("laboratory")
def test_a_program_that_is_not_stopped_by_its_limit(
    settings: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxes, "TRIALS", [(["true"], {"memory_bytes": 64 << 20}, "memory_bytes")])
    with pytest.raises(SandboxError, match="`true` was to be ended by the limit memory_bytes"):
        start(settings)


@pytest.mark.usefixtures("laboratory")
def test_a_program_that_could_lower_its_oom_score(
    settings: SandboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sandboxes,
        "root_orders",
        lambda dev, over: root_orders(dev, over).replace(b"restrict-proc\0/proc\0", b""),
    )
    with pytest.raises(SandboxError, match="can change its oom_score_adj"):
        start(settings)


@pytest.mark.usefixtures("laboratory")
def test_no_room_for_the_smallest_program(settings: SandboxSettings) -> None:
    with pytest.raises(SandboxError, match="limit of all stages together"):
        start(settings.model_copy(update={"total_memory_bytes": 8 << 20}))


def test_a_failed_start_leaves_room_for_the_next(laboratory: Laboratory, settings: SandboxSettings) -> None:
    with pytest.raises(SandboxError):
        start(settings.model_copy(update={"total_memory_bytes": 8 << 20}))
    assert laboratory.script("echo ran").stdout == b"ran\n"
