"""The watchdog ends the process of a store processor that makes no progress, and no other."""

import time

import pytest

from processors.store import watchdog
from processors.store.watchdog import Watchdog
from tests.support.polling import eventually


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    crashes: list[str] = []
    monkeypatch.setattr(watchdog, "STUCK_S", 0.3)
    monkeypatch.setattr(watchdog, "_LOOK_S", 0.02)
    monkeypatch.setattr(watchdog, "crash", crashes.append)
    return crashes


def test_a_process_without_progress_ends(crashes: list[str]) -> None:
    dog = Watchdog("a-store")
    dog.start()
    eventually(lambda: crashes, "the crash")
    assert "a-store made no progress" in crashes[0]


def test_a_process_that_makes_progress_or_has_ended_does_not(crashes: list[str]) -> None:
    dog = Watchdog("a-store")
    dog.start()
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        dog.progress()
        time.sleep(0.01)
    dog.stop()
    time.sleep(0.5)
    assert crashes == []
