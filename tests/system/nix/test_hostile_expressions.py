"""An expression is hostile input."""

import pytest

from nix.cache import BuildLimits
from nix.dependencies import Expression, Packages
from nix.errors import DependenciesError
from tests.system.nix.conftest import Host

READERS = [
    'builtins.readFile "/etc/passwd"',
    "builtins.readFile /etc/passwd",
    "builtins.readFile /pkgs/../etc/passwd",
    "builtins.readFile /box/../etc/passwd",
    'builtins.readFile "/proc/self/environ"',
    'builtins.hashFile "sha256" "/etc/passwd"',
    'builtins.filterSource (_: _: true) "/etc"',
    'builtins.findFile [ { prefix = "x"; path = "/etc"; } ] "x/passwd"',
    "builtins.readDir <nix>",
    'builtins.getFlake "/etc"',
    'builtins.fetchTree { type = "path"; path = "/etc"; }',
    'builtins.readDir "/"',
    "import /etc/passwd",
    'builtins.path { path = "/etc"; }',
    '"${/etc/passwd}"',
    'builtins.exec [ "cat" "/etc/passwd" ]',
    'builtins.importNative "/usr/lib/x86_64-linux-gnu/libc.so.6" "x"',
    'builtins.storePath "/nix/store/00000000000000000000000000000000-x"',
    'import (derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; })',
]


@pytest.mark.parametrize("reader", READERS)
def test_no_file_of_the_host_is_read(host: Host, reader: str) -> None:
    with pytest.raises(DependenciesError) as told:
        host.install(Expression(f"{{ pkgs }}: pkgs.mkShell {{ A = builtins.toJSON ({reader}); }}"))
    assert "root:" not in str(told.value)


@pytest.mark.parametrize("fetch", ["fetchurl", "fetchTarball", "fetchGit"])
def test_nothing_is_fetched(host: Host, server: str, asked: list[str], fetch: str) -> None:
    url = f"http://{server}/x"
    with pytest.raises(DependenciesError):
        host.install(Expression(f'{{ pkgs }}: pkgs.mkShell {{ A = "${{builtins.{fetch} "{url}"}}"; }}'))
    assert asked == []


def test_a_derivation_is_not_built(host: Host) -> None:
    derivation = 'derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; }'
    with pytest.raises(DependenciesError, match="expected a package, got 'x'"):
        host.install(Expression(f"[ ({derivation}) ]"))


def test_a_store_path_in_a_variable_is_only_text(host: Host) -> None:
    expression = '{ pkgs }: pkgs.mkShell { A = builtins.toFile "x" "y"; }'
    path = host.install(Expression(expression)).variables["A"]
    assert path.startswith("/nix/store/")
    assert not (host.settings.nix_root / path.removeprefix("/")).exists()


def test_the_environment_of_the_builder_does_not_leak(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "do not tell")
    installed = host.install(Expression('{ pkgs }: pkgs.mkShell { A = builtins.getEnv "SECRET"; }'))
    assert installed.variables == {"A": ""}


@pytest.mark.parametrize(
    "result",
    [
        '{ debianPackages = [ { outPath = "/nix/store/x"; } ]; }',
        '{ debianPackages = [ { __toString = _: "/etc"; } ]; }',
        '{ debianPackages = [ "bash" "--option" ]; }',
        '{ debianPackages = let x = [ x ]; in x; }',
        '{ debianPackages = { outPath = [ "bash" ]; extra = 1; }; environmentVariables.A = 1; }',
        '{ environmentVariables.LD_PRELOAD = { outPath = { a = 1; }; }; }',
        '{ files = [ { name = "../../etc/passwd"; value.text = "x"; } ]; }',
        '{ files = [ { name = "/etc/passwd"; value.text = "x"; } ]; }',
        '{ files = [ { name = "bin/x"; value = { text = "x"; mode = "4755"; }; } ]; }',
        '{ files = [ { name = "bin/x"; value = { text = "x"; target = "/etc/passwd"; }; } ]; }',
        '{ files = [ { name = "outPath"; value.text = "x"; } ]; }',
        '{ files = builtins.genList (n: { name = "f${toString n}"; value.text = ""; }) 65; }',
        '{ files = [ { name = "f"; value.text = toString (builtins.genList (x: x) 50000); } ]; }',
    ],
)  # fmt: skip
def test_nothing_is_smuggled_through_the_result(host: Host, result: str) -> None:
    forged = f"{{ debianPackages = [ ]; environmentVariables = {{ }}; files = [ ]; }} // ({result})"
    with pytest.raises(DependenciesError):
        host.install(Expression(forged))


def test_what_a_derivation_would_be_is_only_text(host: Host) -> None:
    derivation = 'derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; }'
    expression = f'{{ pkgs }}: [ (pkgs.writeTextDir "etc/x" "${{{derivation}}}") ]'
    installed = host.install(Expression(expression))
    path = host.run(installed, "cat", "/usr/etc/x")
    assert path.startswith("/nix/store/")
    assert not (host.settings.nix_root / path.removeprefix("/")).exists()


@pytest.mark.parametrize(
    "bomb",
    [
        'builtins.match "(((a*)*)*)*b" (builtins.concatStringsSep "" (builtins.genList (_: "a") 5000))',
        "let many = builtins.genList (x: x) 9999; in builtins.length (builtins.concatMap (_: many) many)",
        "let f = n: if n == 0 then 0 else f (n - 1) + f (n - 1); in f 60",
        "let a = builtins.genList (x: x) 20000000; in builtins.length (builtins.sort (p: q: p > q) a)",
        'builtins.concatStringsSep "" (builtins.genList (_: "0123456789") 600000)',
        "let deep = n: if n == 0 then [ ] else [ (deep (n - 1)) ]; in builtins.toJSON (deep 1000000)",
        'builtins.fromJSON (builtins.concatStringsSep "" (builtins.genList (_: "[") 1000000))',
    ],
)
def test_a_bomb_in_an_expression_goes_off_alone(host: Host, bomb: str) -> None:
    limits = BuildLimits(wall_time_s=3, memory_bytes=200 << 20)
    with pytest.raises(DependenciesError):
        host.install(Expression(f"{{ pkgs }}: pkgs.mkShell {{ A = toString ({bomb}); }}"), limits)
    assert host.install(Packages()).store_path
