"""`GET /languages` of a node, and requests that name a language."""

import shutil

from tests.integration.http.nodes import Nodes
from tests.unit.nix.packages import paragraph, write_package_set


def test_languages_are_those_of_the_package_set_in_force(nodes: Nodes) -> None:
    client = nodes.clients[0]
    missing = client.get("/languages")
    assert (missing.status_code, missing.json()["detail"]) == (
        503,
        "this host does not have the package set pin",
    )
    assert int(missing.headers["Retry-After"]) > 0
    packages = paragraph("g++", "4:12.2.0-3"), paragraph("mono-mcs", "6")  # C# needs one more
    folder = write_package_set(nodes.kafka.data_dir, "pin", *packages)
    try:
        answer = client.get("/languages")
    finally:
        shutil.rmtree(folder)
    assert answer.status_code == 200, answer.text
    assert answer.json()["package_set"] == "pin"
    (cpp,) = answer.json()["languages"]
    assert {name: cpp[name] for name in ("name", "title", "version", "packages")} == {
        "name": "cpp",
        "title": "C++ (GCC 12.2.0)",
        "version": "12.2.0",
        "packages": ["g++"],
    }
    assert (cpp["source_file"], cpp["compile"], cpp["run"]) == (
        "main.cpp",
        "g++ -O2 -std=c++17 -o main {source}",
        './main "$@"',
    )
    assert (".cpp" in cpp["suffixes"], cpp["prebuilt"]) == (True, False)
    assert client.get("/languages").json() == answer.json()


def test_the_stored_request_has_what_the_language_gave(nodes: Nodes) -> None:
    client = nodes.clients[0]
    body = {"language": "python", "files": [{"name": "a.py", "content": "print(1)"}]}
    accepted = client.post("/submissions", json=body)
    assert accepted.status_code == 202, accepted.text
    stored = client.get(f"/submissions/{accepted.json()['id']}/request").json()
    assert (stored["language"], stored["run"]) == ("python", 'python3 a.py "$@"')
    assert stored["dependencies"] == {"packages": ["python3"], "nix": None}
    wrong = client.post("/submissions", json=body | {"language": "pyhton"})
    assert wrong.status_code == 422
    assert [error["field"] for error in wrong.json()["errors"]] == ["language"]
