"""What is wrong is explained to whoever wrote it."""

import pytest

from nix.cache import BuildLimits
from nix.dependencies import Expression, Packages
from nix.errors import CacheError, DependenciesError, LimitError
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
        ("# " + "x" * (300 << 10), "larger than"),
    ],
)  # fmt: skip
def test_a_wrong_expression_is_explained(host: Host, text: str, message: str) -> None:
    if "packages = 1" in text:
        host.install(Expression(text))  # what an environment does not need is not looked at
    else:
        assert message in explanation(host, text)


def test_a_set_that_is_too_large_is_refused_before_it_is_fetched(host: Host) -> None:
    with pytest.raises(DependenciesError, match="MiB; an environment may take"):
        host.install(Packages(("texlive-full",)))


def test_a_package_set_that_this_host_lacks_is_our_fault(host: Host) -> None:
    with pytest.raises(CacheError, match="does not have the package set"):
        host.loop.run(host.cache.install(Packages(), "debian-nowhere", BuildLimits(), print))


def test_the_time_limit_is_named(host: Host) -> None:
    with pytest.raises(LimitError, match="wall_time_s"):
        host.install(Packages(("python3",)), BuildLimits(wall_time_s=0.2))


def test_the_memory_limit_is_named(host: Host) -> None:
    text = '{ pkgs }: [ (builtins.foldl\' (a: b: a + a) "aaaaaaaa" (builtins.genList (x: x) 40)) ]'
    with pytest.raises(LimitError, match="memory_bytes"):
        host.install(Expression(text), BuildLimits(memory_bytes=200 << 20))
