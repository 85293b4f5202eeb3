"""Programs in a language of `GET /languages`, without dependencies and commands of their own."""

from typing import Any

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, NUMPY, Cluster
from tests.system.cluster.test_dependencies import command
from topics.request.languages import Preset, find, presets

pytestmark = pytest.mark.xdist_group("cluster")

BUILDS_S = 3600.0
"""Ten times what the environments of all languages take on two cores, with their archives at hand."""


def greeting(preset: Preset, **fields: Any) -> dict[str, Any]:
    """A request that greets a name and, without input, the world."""
    return {
        "language": preset.name,
        "files": [{"name": preset.source_file, "content": preset.hello}],
        "test_cases": [
            {"input": "Ada\n", "expected_output": "Hello, Ada!\n"},
            {"expected_output": "Hello, world!\n"},
        ],
        **fields,
    }


def test_every_package_of_a_preset_is_in_the_package_set(cluster: Cluster) -> None:
    listed = cluster.http.get("/languages").json()
    assert listed["package_set"].startswith("debian-")
    languages = {language["name"]: language for language in listed["languages"]}
    assert [*languages] == [*presets()]
    assert languages["cpp"]["title"] == f"C++ (GCC {languages['cpp']['version']})"
    assert {name for name, language in languages.items() if language["prebuilt"]} == {"bash", "lua"}


def test_a_program_needs_a_language_and_a_file_only(cluster: Cluster) -> None:
    """With the environments of the base, of a request's own, and of ENVICUTOR_LANGUAGES."""

    def installed() -> bool:
        lines = command(cluster, "dependencies", "list").stdout.splitlines()
        return any("  installed" in line and line.endswith("lua5.4") for line in lines)

    eventually(installed, "the environment of Lua is built before a submission needs it", ANSWER_S)
    ids = [
        cluster.submit(greeting(find("bash"))),
        cluster.submit(greeting(find("python"), dependencies=NUMPY)),
        cluster.submit(greeting(find("lua"))),
    ]
    answers = [cluster.finished(id) for id in ids]
    assert [answer["outcome"] for answer in answers] == ["ok"] * 3, answers
    assert answers[2]["dependencies"]["cached"]
    stored = cluster.http.get(f"/submissions/{ids[1]}/request").json()
    assert (stored["language"], stored["run"]) == ("python", 'python3 main.py "$@"')


def test_environments_of_languages_are_requested_by_name(cluster: Cluster) -> None:
    (id,) = command(cluster, "dependencies", "prebuild", "--language", "lua").stdout.split()
    state = cluster.http.get(f"/dependencies/{id}").json()
    assert state["dependencies"]["packages"] == ["lua5.4"]
    wrong = command(cluster, "dependencies", "prebuild", "--language", "pyhton")
    assert (wrong.returncode, "the nearest is 'python'" in wrong.stderr) == (2, True)
    assert command(cluster, "dependencies", "prebuild").returncode == 2


@pytest.mark.soak
@pytest.mark.timeout(2 * BUILDS_S)
def test_every_language_greets(cluster: Cluster) -> None:
    times = {stage: {"wall_time_s": 60} for stage in ("dependencies", "compile", "run")}
    times["dependencies"]["wall_time_s"] = 900
    times["compile"]["wall_time_s"] = 300
    ids = {name: cluster.submit(greeting(preset, limits=times)) for name, preset in presets().items()}
    answers = {name: cluster.finished(id, BUILDS_S) for name, id in ids.items()}
    failed = {name: answer for name, answer in answers.items() if answer["outcome"] != "ok"}
    assert not failed
