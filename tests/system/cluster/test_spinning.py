"""Expressions that never end, on the whole system."""

import pytest

from tests.system.cluster.running import Cluster

pytestmark = pytest.mark.xdist_group("cluster")

SPINNING = "let f = n: if n == 0 then 0 else f (n - 1) + f (n - 1); in f 60"
LIMITS = {"dependencies": {"wall_time_s": 10}}


def test_six_expressions_that_never_end_hold_up_nothing(cluster: Cluster) -> None:
    texts = [f"{{ pkgs }}: pkgs.mkShell {{ A{n} = toString ({SPINNING}); }}" for n in range(6)]
    spinning = [
        cluster.submit({"run": "true", "dependencies": {"nix": text}, "limits": LIMITS}) for text in texts
    ]
    honest = cluster.answer({"run": "true", "dependencies": {"nix": 'throw "this is quick"'}})
    are_over = [cluster.get(id)["status"] == "finished" for id in spinning]
    assert "this is quick" in honest["dependencies"]["explanation"], honest
    assert not all(are_over)
    for id in spinning:
        answer = cluster.finished(id)
        assert answer["outcome"] == "dependencies_failed", answer
        explanation = answer["dependencies"]["explanation"]
        assert any(limit in explanation for limit in ("cpu_time_s = 5", "limit wall_time_s")), explanation
