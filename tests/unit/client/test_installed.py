"""The wheel in a virtual environment that has nothing but the wheel's dependencies."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra.documents import client_models
from tests.unit.client.server import finished, language, languages, serving

ROOT = Path(__file__).parents[3]
CLIENT = client_models.PATH.parents[1]
PACKAGES = 12
"""Largest number of packages that an installation makes, the client included."""
TYPED = """
from envicutor_client import Client
with Client("http://127.0.0.1:1") as client:
    reveal_type(client.run("print(1)", input="2", files={"a": b"b"}, time_s=1.0))
    reveal_type(client.run("").answer.run[0].verdict)
    client.run("", memory=5)
"""


def run(*command: str | Path, cwd: Path | None = None, **options: str) -> str:
    """The output of a command that does not see this repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | options
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def needed(requirements: list[str]) -> Iterator[Distribution]:
    """The distributions that these need, each perhaps more than once."""
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found = distribution(requirement.name)
            yield found
            yield from needed(found.requires or [])


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and with links to what it needs."""
    folder = tmp_path_factory.mktemp("client")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=CLIENT)
    (wheel,) = folder.glob("*.whl")
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--offline", "--python", sys.executable, folder / "venv")
    python = folder / "venv" / "bin" / "python"
    run(uv, "pip", "install", "--offline", "--no-deps", "--python", python, wheel)
    (site,) = (folder / "venv" / "lib").glob("*/site-packages")
    (metadata,) = site.glob("envicutor_client-*.dist-info")
    packages = {found.name: found for found in needed(Distribution.at(metadata).requires or [])}
    assert len(packages) + 1 <= PACKAGES, sorted(packages)
    for found in packages.values():
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    return python


def test_it_runs_a_program(python: Path) -> None:
    code = "from envicutor_client import Client; print(Client().run('print(6 * 7)').stdout)"
    with serving() as server:
        server.replies = [languages(language("python")), finished(stdout="42")]
        assert run(python, "-I", "-c", code, ENVICUTOR_SERVER=server.url) == "42\n"
    assert server.asked[1][2]["language"] == "python"


@pytest.mark.soak
def test_type_checkers_know_its_types(python: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TYPED)
    check = ["-m", "mypy", "--strict", "--cache-dir", tmp_path, "--python-executable", python]
    result = subprocess.run(
        [sys.executable, *map(str, check), "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    found = result.stdout.splitlines()
    assert 'note: Revealed type is "envicutor_client.results.RunResult"' in found[0]
    assert 'note: Revealed type is "str | None"' in found[1]
    assert 'error: Unexpected keyword argument "memory"' in found[2]
