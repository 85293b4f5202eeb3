"""Several processes, one host: each environment is built once, and nobody's death stops another."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nix.dependencies import Expression, Packages
from tests.system.nix.conftest import Host

DEADLINE_S = 200


@contextmanager
def builder(host: Host, *names: str) -> Iterator[subprocess.Popen[str]]:
    """A process that installs packages in the host's Cache."""
    command = [
        sys.executable,
        "-m",
        "tests.system.nix.builder",
        str(host.settings.nix_root),
        host.pin,
        *names,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_two_builders_of_one_environment_build_it_once_however_it_is_spelled(host: Host) -> None:
    spelling = "{ pkgs ? import <pkgs> { } }: pkgs.mkShell { packages = [ pkgs.lua5_4 ]; A = 1; }"
    with builder(host, "lua5.4") as one, builder(host, "--nix", spelling) as other:
        said = [process.communicate(timeout=DEADLINE_S)[0].splitlines() for process in (one, other)]
    assert said[0][-1] == said[1][-1] == host.install(Packages(("lua5.4",))).store_path
    assert sum(line.startswith("building") for lines in said for line in lines) == 1


def test_a_builder_killed_in_the_middle_leaves_nothing_in_the_way(host: Host) -> None:
    wanted = '{ pkgs }: [ pkgs.nodejs (pkgs.writeTextDir "share/own" "") ]'  # no other test has built it
    with builder(host, "--nix", wanted) as killed:
        assert killed.stdout
        assert any(line.startswith("building") for line in killed.stdout)
        killed.kill()
    with builder(host, "--nix", wanted) as next_one:
        *_, store_path = next_one.communicate(timeout=DEADLINE_S)[0].splitlines()
    installed = host.install(Expression(wanted))
    assert installed.store_path == store_path
    assert host.run(installed, "node", "-e", "console.log(6 * 7)") == "42\n"
