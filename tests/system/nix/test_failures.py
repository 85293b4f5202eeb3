"""What is wrong is explained to whoever wrote it."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from nix import deadline
from nix.cache import BuildLimits, Cache
from nix.dependencies import Expression, Packages
from nix.errors import CacheError, DependenciesError, LimitError
from nix.runner import Ran
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.conftest import Host


def explanation(host: Host, text: str, limits: BuildLimits | None = None) -> str:
    with pytest.raises(DependenciesError) as told:
        host.install(Expression(text), limits)
    return str(told.value)


def test_an_unknown_package_names_itself_and_the_nearest(host: Host) -> None:
    with pytest.raises(DependenciesError) as told:
        host.install(Packages(("python3", "pyhton3-numpy")))
    assert "'pyhton3-numpy'" in str(told.value)
    assert "python3-numpy" in str(told.value)


def test_an_unknown_package_of_an_expression_too(host: Host) -> None:
    told = explanation(host, "{ pkgs }:\n\n[ pkgs.nunpy ]")
    assert "'nunpy' missing" in told
    assert "dependencies.nix:3:3" in told
    assert "[ pkgs.nunpy ]" in told
    assert "python3Packages.numpy" in told


@pytest.mark.parametrize(
    "text",
    [
        "with import <pkgs> { }; [ nunpy ]",
        "{ nunpy }: [ nunpy ]",
        "p: [ (p.python3.withPackages (s: [ s.nunpy ])) ]",
    ],
)
def test_whatever_way_it_is_named(host: Host, text: str) -> None:
    told = explanation(host, text)
    assert "nunpy" in told
    assert "python3Packages.numpy" in told.split("Similar packages: ")[1]


def test_a_broken_expression_shows_its_line(host: Host) -> None:
    told = explanation(host, "{ pkgs }:\npkgs.mkShell { packages = [ pkgs.python3 }")
    assert "syntax error" in told
    assert "packages = [ pkgs.python3 }" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[ "python3" ]', 'got the string "python3"'),
        ("{ a = 1; }", "expected a list of packages"),
        ("{ pkgs }: pkgs.mkShell { shellHook = \"ls\"; }", "shellHook is not supported"),
        ("{ pkgs }: pkgs.stdenv.mkDerivation { }", "'stdenv' is not supported"),
        ("{ pkgs }: pkgs.mkShell { A = x: x; }", "cannot coerce a function"),
        ('{ pkgs }: pkgs.mkShell { "a b" = ""; }', "variables.a b"),
        ("{ debianPackages = [ ]; environmentVariables = { }; packages = 1; }", ""),
        ('{ debianPackages = [ "../x" ]; environmentVariables = { }; }', "packages.0"),
        ('{ debianPackages = [ "no-such-package" ]; environmentVariables = { }; }', "no-such-package"),
        ('{ debianPackages = [ { } ]; environmentVariables = { }; }', "packages.0"),
        ('{ pkgs }: pkgs.mkShell { A = "${pkgs.writeText "b" "c"}!"; }', "A mentions the file b"),
        ('{ pkgs }: [ (pkgs.writeTextDir "../x" "") ]', "files.../x"),
        ('{ pkgs }: [ (pkgs.writeTextFile { name = "x"; text = ""; checkPhase = "y"; }) ]', "'checkPhase'"),
        ('{ pkgs }: [ (pkgs.writeText "x" 1) ]', "text"),
        ("{ pkgs }: pkgs.lib.mapAttrsToList", "attribute 'mapAttrsToList' missing"),
        ("{ pkgs }: [ (pkgs.python3.override { }) ]", "attribute 'override' missing"),
        ("let x = x; in x", "infinite recursion"),
        ("let f = x: 1 + f x; in f 1", "stack overflow"),
        ("[ \ud800 ]", ""),
        ('throw ""', "without a message"),
        ('throw " "', "without a message"),
        ('throw "\n"', "without a message"),
        ('builtins.trace "a hint" (throw "")', "a hint"),
        ("# " + "x" * (300 << 10), "larger than"),
    ],
)  # fmt: skip
def test_a_wrong_expression_is_explained(host: Host, text: str, message: str) -> None:
    if "packages = 1" in text:
        host.install(Expression(text))  # what an environment does not need is not looked at
    else:
        assert message in explanation(host, text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["(use '--show-trace' ", "attribute '", "\\n", "error: "])
def test_a_long_message_is_explained_soon(host: Host, text: str) -> None:
    thrown = f'throw (builtins.concatStringsSep "" (builtins.genList (x: "{text}") 40000))'
    assert text.strip("\\n") in explanation(host, thrown)


def test_nothing_is_said_of_options_that_users_cannot_give(host: Host) -> None:
    told = explanation(host, 'builtins.map (x: throw "boo") [ 1 ]')
    assert "boo" in told
    assert "show-trace" not in told


def test_a_nix_that_does_not_start_is_our_fault(host: Host, sandboxes: Sandboxes) -> None:
    class Without(SandboxRunner):
        async def sandboxed(self, argv: Sequence[str], **options: Any) -> Ran:
            renamed = ["no-such-program" if word == "nix-instantiate" else word for word in argv]
            return await super().sandboxed(renamed, **options)

    host.loop.run(host.cache.check_builder())
    without = Cache(host.settings, Without(sandboxes))
    with pytest.raises(CacheError, match="nix-instantiate"):
        host.loop.run(without.check_builder())
    with pytest.raises(CacheError, match="nix-instantiate"):
        host.loop.run(without.install(Expression("[ ] ++ [ ]"), host.pin, BuildLimits(), print))


def test_what_was_built_in_time_is_not_late(
    host: Host, sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(SandboxRunner):
        """By the limit's clock a build takes all of the time."""

        ahead_s = 0.0

        async def bounded(self, argv: Sequence[str], **options: Any) -> Ran:
            ran = await super().bounded(argv, **options)
            self.ahead_s += 1000.0
            return ran

    runner = Late(sandboxes)
    monkeypatch.setattr(
        deadline, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + runner.ahead_s)
    )
    wanted = Expression('{ pkgs }: [ (pkgs.writeTextDir "late" "") ]')
    late = Cache(host.settings, runner)
    assert host.loop.run(late.install(wanted, host.pin, BuildLimits(), print)).size_bytes > 0


def test_a_set_that_is_too_large_is_refused_before_it_is_fetched(host: Host) -> None:
    with pytest.raises(DependenciesError, match="MiB; an environment may take"):
        host.install(Packages(("texlive-full",)))


def test_a_package_set_that_this_host_lacks_is_our_fault(host: Host) -> None:
    with pytest.raises(CacheError, match="does not have the package set"):
        host.loop.run(host.cache.install(Packages(), "debian-nowhere", BuildLimits(), print))


def test_the_time_limit_is_named(host: Host) -> None:
    wanted = '{ pkgs }: [ pkgs.python3 (pkgs.writeTextDir "share/own" "") ]'  # no other test has built it
    with pytest.raises(LimitError, match="wall_time_s"):
        host.install(Expression(wanted), BuildLimits(wall_time_s=0.2))


def test_the_memory_limit_is_named(host: Host) -> None:
    text = '{ pkgs }: [ (builtins.foldl\' (a: b: a + a) "aaaaaaaa" (builtins.genList (x: x) 40)) ]'
    with pytest.raises(LimitError, match="memory_bytes"):
        host.install(Expression(text), BuildLimits(memory_bytes=200 << 20))
