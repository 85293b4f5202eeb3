"""Environments of Debian 13 on a host of another release: the same courses and languages work in them."""

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nix import package_set, resolve
from nix.cache import BuildLimits
from nix.dependencies import Expression, Packages
from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from tests.system.nix.conftest import Host
from tests.system.nix.test_caches import COMPILED, LOADED
from topics.request.languages import Preset, presets, with_commands, with_limits
from topics.request.limits import CompileLimits
from topics.request.model import SubmissionRequest

pytestmark = pytest.mark.soak

NAME = "debian-13"
OTHER_PACKAGES = {"java": ("openjdk-21-jdk-headless", "jdk21_headless")}
"""Environments of environments.toml that name a version: the package and nixpkgs' name on Debian 13."""
ABSENT = {"nim"}
"""Languages that Debian 13 does not have."""
LIMITS = BuildLimits(wall_time_s=900)


@pytest.fixture(scope="session")
def debian_13(host: Host) -> Host:
    """The host with the package set of Debian 13 in force."""
    return dataclasses.replace(host, pin=package_set.refresh(host.settings, print, NAME).pin)


def environments() -> Iterator[Any]:
    file = Path(__file__).with_name("environments.toml")
    for name, environment in tomllib.loads(file.read_text()).items():
        if name in OTHER_PACKAGES:
            package, nix_name = OTHER_PACKAGES[name]
            environment |= {"packages": [package], "nix": f"{{ pkgs }}: [ pkgs.{nix_name} ]"}
        yield pytest.param(environment, id=name)


def run(host: Host, sandboxes: Sandboxes, store_path: str, script: str, **files: str) -> Completed:
    async def running() -> Completed:
        limits = CompileLimits(wall_time_s=60, memory_bytes=2 << 30, processes=256)
        named = {name: text.encode() for name, text in files.items()}
        async with sandboxes.box(named, limits) as box:
            with host.cache.hold(store_path) as tree:
                return await box.run(Command(["bash", "-c", script]), Rootfs.of_environment(tree), limits)

    return host.loop.run(running())


@pytest.mark.parametrize("environment", list(environments()))
def test_an_environment_in_both_spellings(
    debian_13: Host, sandboxes: Sandboxes, environment: dict[str, Any]
) -> None:
    installed = debian_13.install(Packages(tuple(environment["packages"])), LIMITS)
    assert debian_13.install(Expression(environment["nix"]), LIMITS).store_path == installed.store_path
    ran = run(debian_13, sandboxes, installed.store_path, environment["run"])
    assert (ran.stdout.decode(), ran.limit_exceeded) == (environment["prints"], None), ran.stderr.decode()


@pytest.mark.parametrize(
    "preset",
    [preset for preset in presets().values() if preset.name not in ABSENT],
    ids=lambda preset: preset.name,
)
def test_a_language_greets(debian_13: Host, sandboxes: Sandboxes, preset: Preset) -> None:
    installed = debian_13.install(Packages(preset.packages), LIMITS)
    asked = SubmissionRequest.model_validate(
        {"language": preset.name, "files": [{"name": preset.source_file, "content": preset.hello}]},
        strict=False,
    )
    request = with_commands(with_limits(asked))
    variables = "".join(f"export {name}='{value}'\n" for name, value in request.env.items())
    script = (
        f"{variables}set -e\n{{\n{request.compile or ':'}\n}} >&2\nprintf 'Ada\\n' | {{\n{request.run}\n}}"
    )
    ran = run(debian_13, sandboxes, installed.store_path, script, **{preset.source_file: preset.hello})
    assert ran.stdout.decode() == "Hello, Ada!\n", ran.stderr.decode()


def test_versions_are_those_of_debian_13(debian_13: Host) -> None:
    versions = {
        "python3": (("python3", "--version"), r"Python 3\.13\."),
        "python313": (("python3", "--version"), r"Python 3\.13\."),
        "gcc14": (("g++", "-dumpversion"), "14"),
        "jdk21": (("javac", "--version"), "javac 21"),
        "nodejs_20": (("node", "--version"), r"v20\."),
        "php84": (("php", "--version"), r"PHP 8\.4"),
        "ruby_3_3": (("ruby", "--version"), r"ruby 3\.3"),
        "go_1_24": (("go", "version"), r"go version go1\.24"),
        "lua5_4": (("lua5.4", "-v"), r"Lua 5\.4"),
    }
    for name, (command, version) in versions.items():
        printed = debian_13.run(debian_13.install(Packages((name,)), LIMITS), *command)
        assert re.match(version, printed), (name, printed)


def test_names_with_the_version_of_another_release_are_not_offered(debian_13: Host) -> None:
    opened = package_set.load(debian_13.settings, debian_13.pin)
    assert not {"gcc12", "python311", "nodejs_18", "jdk17"} & opened.names.aliases.keys()
    for preset in presets().values():
        if preset.name not in ABSENT:
            resolve.debian_names(preset.packages, opened.index, opened.names)


def test_no_module_that_a_program_imports_is_compiled_again(debian_13: Host) -> None:
    installed = debian_13.install(Packages(("python3", "python3-numpy")), LIMITS)
    modules = "json,asyncio,sqlite3,sitecustomize,numpy"
    printed = debian_13.run(installed, "sh", "-c", f"python3 -v -c 'import {modules}' 2>&1")
    assert COMPILED.findall(printed) == []
    assert "stale" not in printed
    assert any("/dist-packages/numpy/" in path for path in LOADED.findall(printed))
