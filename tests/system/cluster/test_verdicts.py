"""Verdicts, scores and a checker, end to end."""

import pytest

from tests.system.cluster.running import Cluster

pytestmark = pytest.mark.xdist_group("cluster")


def test_verdicts_and_the_score_over_http(cluster: Cluster) -> None:
    answer = cluster.answer(
        {
            "run": 'read -r number; [ "$number" != 3 ] || while :; do :; done; echo "$((number * number))"',
            "test_cases": [
                {"input": "1\n", "expected_output": "1", "points": 0.1},
                {"input": "2\n", "expected_output": "5", "points": 0.2},
                {"input": "3\n", "expected_output": "9", "points": 0.4},
                {"input": "4\n", "expected_output": "16", "points": 0.2},
            ],
            "comparison": {
                "mode": "checker",
                "files": [{"name": "check.sh", "content": "cmp -s output answer"}],
                "compile": "echo >> check.sh",
                "run": 'printf %s "$(cat output)" > output; bash check.sh "$@"',
            },
            "limits": {"run": {"cpu_time_s": 0.5, "stack_bytes": 67108864}},
        }
    )
    assert (answer["outcome"], answer["error"]) == ("run_failed", None)
    verdicts = ["accepted", "wrong_output", "time_limit", "accepted"]
    assert [run["verdict"] for run in answer["run"]] == verdicts
    assert [run["score"] for run in answer["run"]] == [0.1, 0, 0, 0.2]
    assert answer["score"] == 0.3
    assert [run.get("checker", {}).get("exit_code") for run in answer["run"]] == [0, 1, None, 0]
    submission = cluster.get(answer["id"])
    assert (submission["score"], submission["run"]) == (answer["score"], answer["run"])
