"""What users and operators see of dependencies: over HTTP and from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster

pytestmark = pytest.mark.xdist_group("cluster")


def command(cluster: Cluster, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`envicutor …` on this host."""
    own = {
        "ENVICUTOR_BOOTSTRAP_SERVERS": cluster.kafka.bootstrap_servers,
        "ENVICUTOR_SERVER": str(cluster.http.base_url).rstrip("/"),
        "ENVICUTOR_NIX_ROOT": str(cluster.nix_root),
    }
    argv = [sys.executable, "-m", "infra.cli", *map(str, arguments)]
    return subprocess.run(
        argv, env=os.environ | own, capture_output=True, text=True, timeout=ANSWER_S, check=False
    )


def test_packages_are_found(cluster: Cluster) -> None:
    page = cluster.http.get("/packages", params={"q": "numpy", "limit": 3}).json()
    assert (page["total"] > 3, len(page["packages"])) == (True, 3)
    assert set(page["packages"][0]) == {"name", "version", "description"}
    assert "python3-numpy" in [package["name"] for package in page["packages"]]
    more = cluster.http.get("/packages", params={"q": "numpy", "limit": 3, "offset": 3}).json()
    assert page["packages"][0] not in more["packages"]
    assert cluster.http.get("/packages", params={"limit": 0}).status_code == 422
    found = command(cluster, "packages", "search", "numpy", "--limit", "3")
    assert found.stdout.splitlines()[0].startswith(page["packages"][0]["name"] + "\t")


def test_from_prebuilt_to_evicted(cluster: Cluster, tmp_path: Path) -> None:
    wanted = tmp_path / "environments.json"
    wanted.write_text(json.dumps([{"packages": ["cowsay"]}, {"nix": "{ pkgs }: [ pkgs.cowsay ]"}]))
    ids = command(cluster, "dependencies", "prebuild", wanted).stdout.split()
    assert len(ids) == 2

    def stored(id: str) -> str:
        answer = cluster.http.get(f"/dependencies/{id}")
        return str(answer.json()["status"]) if answer.is_success else ""

    eventually(lambda: {*map(stored, ids)} == {"installed"}, "both spellings are installed", ANSWER_S)
    one, other = (json.loads(command(cluster, "dependencies", "show", id).stdout) for id in ids)
    assert one["store_path"] == other["store_path"]
    assert f"{ids[0]}  installed" in command(cluster, "dependencies", "list").stdout

    request = {"dependencies": {"packages": ["cowsay"]}, "limits": {"run": {"wall_time_s": 60}}}
    running = cluster.submit({**request, "run": "until [ -e /box/never ]; do sleep 0.2; done"})
    eventually(lambda: cluster.get(running)["dependencies"], "it runs", ANSWER_S)
    in_use = command(cluster, "dependencies", "evict", ids[0])
    assert (in_use.returncode, "in use" in in_use.stderr) == (1, True)
    cluster.http.delete(f"/submissions/{running}")
    eventually(
        lambda: command(cluster, "dependencies", "evict", ids[0]).returncode == 0, "it is evicted", ANSWER_S
    )
    eventually(lambda: {*map(stored, ids)} == {"gone"}, "every spelling is known to be gone", ANSWER_S)
    again = cluster.answer({**request, "run": "/usr/games/cowsay moo"})
    assert (again["outcome"], again["dependencies"]["cached"]) == ("ok", False), again


def test_what_the_operator_listed_is_there_before_anybody_asks(cluster: Cluster) -> None:
    def listed() -> bool:
        lines = command(cluster, "dependencies", "list").stdout.splitlines()
        return any("  installed" in line and line.endswith("python3 python3-numpy") for line in lines)

    eventually(listed, "it is installed", ANSWER_S)


def test_a_limit_that_was_too_little_for_one_is_not_held_against_another(cluster: Cluster) -> None:
    many = "toString (builtins.length (builtins.genList (x: x) 4000000))"  # some 130 MiB
    expression = f"{{ pkgs }}: pkgs.mkShell {{ packages = [ ]; A = {many}; }}"
    request = {"dependencies": {"nix": expression}, "run": "true"}
    failed = cluster.answer({**request, "limits": {"dependencies": {"memory_bytes": 64 << 20}}})
    assert failed["outcome"] == "dependencies_failed", failed
    assert "limit memory_bytes" in failed["dependencies"]["explanation"]
    state = cluster.http.get(f"/dependencies/{failed['dependencies']['id']}").json()
    assert (state["status"], state["fault"]) == ("failed", "limit")
    assert cluster.answer(request)["outcome"] == "ok"


def test_what_a_client_writes_does_not_fill_the_log(cluster: Cluster) -> None:
    words = 'builtins.concatStringsSep "" (builtins.genList (x: "a word\\n") 100000)'
    failed = cluster.answer({"dependencies": {"nix": f"throw ({words})"}, "run": "true"})
    assert failed["outcome"] == "dependencies_failed", failed
    id = failed["dependencies"]["id"]
    lines = cluster.log.read_text().splitlines()
    assert max(len(line) for line in lines if f"building {id}: failed" in line) < 2000
    assert "a word" not in lines


def test_what_is_not_there_is_said(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster.http.get(f"/dependencies/{'0' * 32}").status_code == 404
    assert cluster.http.get("/dependencies/..%2Fetc").status_code in {404, 422}
    for verb in ("show", "evict"):
        assert command(cluster, "dependencies", verb, "0" * 32).returncode == 2
    wrong = tmp_path / "wrong.json"
    wrong.write_text('[{"packages": ["python3"]}, {"packages": "python3"}]')
    told = command(cluster, "dependencies", "prebuild", wrong)
    assert (told.returncode, "1.packages" in told.stderr) == (2, True), told.stderr


def test_the_base_is_not_evicted(cluster: Cluster) -> None:
    listed = command(cluster, "dependencies", "list").stdout.splitlines()
    base = next(line.split()[0] for line in listed if line.endswith("the base"))
    told = command(cluster, "dependencies", "evict", base)
    assert (told.returncode, "the base" in told.stderr) == (1, True), told.stderr
