"""Environments are what was asked for, and run."""

import os
import re
import stat
import time
from pathlib import Path

import pytest

from nix.dependencies import Dependencies, Expression, Packages
from nix.errors import EnvironmentNotFoundError
from tests.system.nix.conftest import Host

NUMPY = Packages(("python3", "python3-numpy"))


def test_the_base_has_a_shell_and_its_tools(host: Host) -> None:
    installed = host.install(Packages())
    script = """
        set -e
        echo b a | tr ' ' '\\n' | sort | sed s/a/A/ | grep A | awk '{ print $1 "!" }'
        cd /tmp && echo x > f && tar -czf f.tar.gz f && xz -k f && bzip2 -k f && find . -name 'f.*' | wc -l
        [ -n "$(find /etc -name passwd | xargs cat | cut -d: -f1 | head -n 1)" ] && whoami && diff f f
    """
    assert host.run(installed, "bash", "-c", script).split() == ["A!", "3", "box"]
    assert installed.variables == {}
    assert "bash" in installed.packages
    assert installed.packages == sorted(installed.packages)
    assert 10 << 20 < installed.size_bytes < 100 << 20


def test_numpy_runs_from_a_read_only_tree(host: Host) -> None:
    code = "import numpy, sys; print(numpy.arange(4).sum(), numpy.linalg.det(numpy.eye(2)), sys.prefix)"
    assert host.run(host.install(NUMPY), "python3", "-c", code) == "6 1.0 /usr\n"


def test_the_standard_library_is_compiled(host: Host) -> None:
    code = "import json.decoder as d, numpy as n, os; print([os.path.exists(m.__cached__) for m in (d, n)])"
    assert host.run(host.install(NUMPY), "python3", "-c", code) == "[True, True]\n"


def test_a_record_that_makes_no_sense_is_made_again(host: Host) -> None:
    installed = host.install(Packages(("bash",)))
    records = (host.settings.nix_root / "environments").glob("*.json")
    (record,) = (record for record in records if installed.store_path in record.read_text())
    for nonsense in ("", "[]", '{"store_path": "x"}'):
        record.write_text(nonsense)
        assert host.install(Packages(("bash",))).store_path == installed.store_path


def test_spellings_of_one_environment_are_one_store_path(host: Host) -> None:
    spellings: list[Dependencies] = [
        NUMPY,
        Packages(("python3-numpy", "python3", "bash", "python3")),
        Packages(("python3Packages.numpy",)),
        Expression(
            "{ pkgs ? import <pkgs> { } }: pkgs.mkShell { packages = [ pkgs.python3Packages.numpy ]; }"
        ),
        Expression("with import <nixpkgs> { }; [ (python3.withPackages (ps: [ ps.numpy ])) ]"),
    ]
    assert len({host.install(spelling).store_path for spelling in spellings}) == 1


def test_an_expression_brings_variables(host: Host) -> None:
    expression = """
        { pkgs ? import <pkgs> { } }:
        pkgs.mkShell { FOO = "two\\nlines"; N = 3; PYTHON = "${pkgs.python3}/bin/python3"; }
    """
    installed = host.install(Expression(expression))
    assert installed.variables == {"FOO": "two\nlines", "N": "3", "PYTHON": "/usr/bin/python3"}
    assert installed.store_path == host.install(Packages()).store_path


FILES = """
    { pkgs ? import <pkgs> { }, lib ? pkgs.lib }:
    let
      settings = pkgs.writeText "settings.json" (builtins.toJSON { answer = 42; });
      answer = pkgs.writeShellScriptBin "answer" "jq .answer $SETTINGS";
      python = pkgs.writeScriptBin "twice" "#!${pkgs.python3}/bin/python3\nprint(2 * int(input()))";
    in pkgs.mkShell {
      packages = [
        pkgs.jq answer python pkgs.python3
        (pkgs.writeTextDir "share/motd" "hello\n")
        (pkgs.writeTextFile {
          name = "x"; text = "#!/bin/bash\necho $0"; executable = true; destination = "/libexec/x";
        })
        (pkgs.writeShellApplication { name = "strict"; text = "bc $UNSET"; runtimeInputs = [ pkgs.bc ]; })
      ] ++ lib.optional true pkgs.hello ++ lib.optionals false [ pkgs.nothing ];
      SETTINGS = settings;
    }
"""


def test_an_expression_brings_small_files(host: Host) -> None:
    installed = host.install(Expression(FILES))
    variables = [f"{name}={value}" for name, value in installed.variables.items()]
    script = """
        answer | twice
        cat /usr/share/motd
        /usr/libexec/x
        strict 2>/dev/null || echo strict
        hello
        test -x $SETTINGS || stat -c %a $SETTINGS
    """
    printed = host.run(installed, "env", *variables, "bash", "-c", script).splitlines()
    assert printed == ["84", "hello", "/usr/libexec/x", "strict", "Hello, world!", "444"]
    assert {"bc", "jq"} <= set(installed.packages)


def test_a_small_file_takes_the_place_of_a_package_s(host: Host) -> None:
    expression = '{ pkgs }: [ pkgs.lua5_4 (pkgs.writeShellScriptBin "luac5.4" "echo mine") ]'
    assert host.run(host.install(Expression(expression)), "luac5.4") == "mine\n"


def test_other_files_are_another_environment(host: Host) -> None:
    def path(text: str) -> str:
        return host.install(Expression(f'{{ pkgs }}: [ (pkgs.writeText "x" "{text}") ]')).store_path

    assert path("a") == path("a") != path("b")


def test_cpp_compiles_and_runs(host: Host) -> None:
    source = "#include <iostream>\nint main() { std::cout << 6 * 7; }"
    script = f"cd /tmp && echo '{source}' > a.cpp && g++ -O1 a.cpp -o a && ./a"
    assert host.run(host.install(Packages(("gcc",))), "bash", "-c", script) == "42"


def test_a_tree_knows_nothing_of_the_store_and_has_no_special_files(host: Host) -> None:
    # These bring setuid programs, and ask for users and groups.
    installed = host.install(Packages(("passwd", "login")))
    with host.cache.hold(installed.store_path) as tree:
        for folder, _, files in os.walk(tree):
            for name in files:
                status = Path(folder, name).lstat()
                assert stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode), name
                assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID | 0o222) or stat.S_ISLNK(
                    status.st_mode
                )
                assert status.st_uid == 0
        assert (tree / "usr/bin/passwd").exists()
        assert not list(tree.glob(".*"))
    assert re.fullmatch(r"/nix/store/[0-9a-z]{32}-environment", installed.store_path)


def test_a_cached_environment_costs_next_to_nothing(host: Host) -> None:
    installed = host.install(NUMPY)
    started = time.monotonic()
    for _ in range(100):
        with host.cache.hold(installed.store_path):
            pass
    assert (time.monotonic() - started) / 100 < 0.02  # aimed at: 2 ms
    started = time.monotonic()
    assert host.install(NUMPY) == installed
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    "store_path",
    [
        f"/nix/store/{'a' * 32}-environment",
        f"/nix/store/{'a' * 32}-other",
        "/etc",
        "../../etc",
        "",
        "/nix/store/..",
    ],
)
def test_what_is_not_there_cannot_be_held(host: Host, store_path: str) -> None:
    with pytest.raises(EnvironmentNotFoundError), host.cache.hold(store_path):
        pass
