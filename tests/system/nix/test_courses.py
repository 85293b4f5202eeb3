"""What people ask for, in both spellings, is one environment, and works in the sandbox."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nix.dependencies import Expression, Packages
from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from tests.system.nix.conftest import Host
from topics.request.limits import CompileLimits


def environments() -> Iterator[Any]:
    """Of environments.toml."""
    file = Path(__file__).with_name("environments.toml")
    for name, environment in tomllib.loads(file.read_text()).items():
        marks = [pytest.mark.soak] if environment.get("soak") else []
        yield pytest.param(environment, id=name, marks=marks)


@pytest.mark.parametrize("environment", list(environments()))
def test_an_environment_in_both_spellings(
    host: Host, sandboxes: Sandboxes, environment: dict[str, Any]
) -> None:
    installed = host.install(Packages(tuple(environment["packages"])))
    assert host.install(Expression(environment["nix"])).store_path == installed.store_path

    async def run() -> Completed:
        limits = CompileLimits()
        async with sandboxes.box({}, limits) as box:
            with host.cache.hold(installed.store_path) as tree:
                command = Command(["bash", "-c", environment["run"]])
                return await box.run(command, Rootfs.of_environment(tree), limits)

    ran = host.loop.run(run())
    assert (ran.stdout.decode(), ran.limit_exceeded) == (environment["prints"], None), ran.stderr.decode()
