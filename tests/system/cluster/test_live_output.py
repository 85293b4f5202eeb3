"""Output is seen while the program still runs, over HTTP and in the terminal."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource

from tests.system.cluster.running import ANSWER_S, Cluster

pytestmark = pytest.mark.xdist_group("cluster")

UNTIL_CANCELLED = {
    "compile": "echo compiling",
    "run": r"printf 'he said \303\274\n'; echo wrong >&2; sleep 50; echo never",
    "limits": {"run": {"wall_time_s": 60}},
}


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    return ((event.event, event.json()) for event in EventSource(response).iter_sse() if event.data)


def test_output_comes_before_the_program_ends(cluster: Cluster) -> None:
    id = cluster.submit(UNTIL_CANCELLED)
    told: dict[tuple[str, str], str] = {}
    names = []
    with cluster.http.stream("GET", f"/submissions/{id}/events", timeout=ANSWER_S) as response:
        for name, data in events(response):
            names.append(name)
            if name == "output":
                told[data["stage"], data["stream"]] = data["text"]
            if ("run", "stdout") in told and ("run", "stderr") in told:
                cluster.http.delete(f"/submissions/{id}")
    assert told["run", "stdout"] == "he said ü\n"
    assert told["run", "stderr"] == "wrong\n"
    assert names[0] == "requested"
    assert "started" in names
    assert names[-2:] == ["cancelled", "end"]


def command(cluster: Cluster, *arguments: str, stdin: Any = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "infra.cli", *arguments, "--server", str(cluster.http.base_url)],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_watching_in_the_terminal(cluster: Cluster) -> None:
    id = f"watched-{os.urandom(6).hex()}"
    request = {"id": id, "run": "echo first; sleep 50", "limits": {"run": {"wall_time_s": 60}}}
    with command(cluster, "submit", "--watch", "-") as watching:
        assert watching.stdin is not None
        assert watching.stdout is not None
        watching.stdin.write(json.dumps(request))
        watching.stdin.close()
        watching.stdin = None
        assert watching.stdout.readline() == "first\n"
        assert watching.poll() is None  # the program still runs
        assert command(cluster, "cancel", id).wait(ANSWER_S) == 0
        _, err = watching.communicate(timeout=ANSWER_S)
        assert (watching.returncode, err.splitlines()[-1]) == (6, f"envicutor: cancelled  {id}")
    out, _ = command(cluster, "watch", id, "--json").communicate(timeout=ANSWER_S)
    assert json.loads(out.splitlines()[-1])["data"]["status"] == "cancelled"
    out, _ = command(cluster, "list", "--status", "cancelled", "--json").communicate(timeout=ANSWER_S)
    assert id in out


def test_what_is_shown_is_the_whole_output_once(cluster: Cluster) -> None:
    program = "for i in $(seq 1 300); do echo line $i; done; sleep 0.3; seq 1 20000; sleep 0.2; echo last"
    with command(cluster, "submit", "--watch", "-") as watching:
        out, _ = watching.communicate(json.dumps({"run": program}), timeout=ANSWER_S)
    lines = [f"line {i}" for i in range(1, 301)] + [str(i) for i in range(1, 20001)] + ["last"]
    assert out.splitlines() == lines
