"""The benchmarks run, and what they measure is of the right order."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.bench.sandbox import AIM_S, ATTACKS, HIT


def test_the_sandbox_is_measured(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    done = subprocess.run(
        [sys.executable, "-m", "infra.bench", "sandbox", "--rounds", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench-results" / "sandbox.json").read_text())
    assert set(found["leftovers"].values()) == {0}
    assert len(found["ending_s"]) == 2 * len(HIT)
    assert max(ending["max"] for ending in found["ending_s"].values()) < 20 * AIM_S
    assert set(found["neighbour_s"]) == set(ATTACKS)
    assert "what each layer costs" in done.stdout
