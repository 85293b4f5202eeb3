"""The benchmarks run, and what they measure is of the right order."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nix.settings import NixSettings
from tests.benchmarks.first_builds import APT, APT_ITSELF
from tests.benchmarks.hosts import Has
from tests.benchmarks.memory import AIM_PSS_BYTES, AIM_SEARCH_BYTES
from tests.benchmarks.sandbox import AIM_S, ATTACKS, HIT

pytestmark = pytest.mark.soak


def run(part: str, *options: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """What it prints, and what it keeps."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", part, *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "bench" / f"{part}.json").read_text())


def test_the_log_is_measured(tmp_path: Path) -> None:
    printed, found = run("kafka", "--submissions", "300", folder=tmp_path)
    assert found["audit"]["events"] == 1 + 4 * 300 + 3 * 75
    assert min(*found["per_s"].values(), *found["restart_s"].values()) > 0
    assert "back after, with 300 submissions in the store" in printed


def test_ratios_are_measured(tmp_path: Path) -> None:
    printed, found = run("ratios", "--rounds", "20", "--warm-up-s", "5", folder=tmp_path)
    assert {len(taken) for taken in found["seconds"].values()} == {20}
    assert set(found["cpu_s"]) == {"1", "8", "16", "64"}
    assert len(found["behind_s"]["behind"]) == len(found["behind_s"]["idle"])
    assert "answer p50 / plain p50" in printed


def test_dependencies_are_measured(tmp_path: Path) -> None:
    before = set(NixSettings().cache_dir.glob(".bench-*"))
    printed, found = run("dependencies", "--rounds", "1", "--package", "python3", folder=tmp_path)
    assert set(found["builds_s"]) == {f"python3, {has}" for has in Has} | {APT, APT_ITSELF}
    assert 0 < found["packages"]["environment"] <= found["packages"]["apt-get"]
    ways = ("asked again", "as expression", "as expression, seen before")
    assert set(found["again_s"]) == {f"python3, {way}" for way in ways}
    built, again = found["builds_s"][f"python3, {Has.ARCHIVES}"], found["again_s"]["python3, asked again"]
    assert again["p50"] < built["p50"]
    assert set(found["copies_s"]) == {"publish python3", "fetch python3"}
    assert "through the binary cache" in printed
    assert set(NixSettings().cache_dir.glob(".bench-*")) <= before


def test_the_sandbox_is_measured(tmp_path: Path) -> None:
    printed, found = run("sandbox", "--rounds", "1", folder=tmp_path)
    assert set(found["leftovers"].values()) == {0}
    assert len(found["ending_s"]) == 2 * len(HIT)
    assert max(ending["max"] for ending in found["ending_s"].values()) < 20 * AIM_S
    assert set(found["neighbour_s"]) == set(ATTACKS)
    assert "what each layer costs" in printed


def test_memory_is_measured_and_an_idle_system_fits(tmp_path: Path) -> None:
    printed, found = run("memory", "--submissions", "1000", "--minutes", "1", folder=tmp_path)
    assert {"up", "broker-0", "ingest-0", "worker-0", "cache-builder-0"} < set(found["idle"])
    assert sum(of["pss_bytes"] for of in found["idle"].values()) < AIM_PSS_BYTES
    assert found["first_search_bytes"] < AIM_SEARCH_BYTES
    assert [count for count, _ in found["growth"]] == [0, 200, 400, 600, 800, 1000]
    assert "resident memory of ingest" in printed
