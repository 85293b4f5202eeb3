from nix.resolve import closure
from nix.store import configuration, manifest
from tests.unit.nix.packages import make_index, paragraph


def test_the_manifest_has_a_line_for_each_archive_dependencies_first() -> None:
    index = make_index(paragraph("b", Depends="a"), paragraph("a"))
    lines = manifest(closure(["b"], index)).splitlines()
    hashes = [index.package(name).sha256 for name in "ab"]  # type: ignore[union-attr]
    assert lines == [f"a {hashes[0]}", f"b {hashes[1]}"]


def test_builds_are_sandboxed_and_reach_nothing() -> None:
    lines = configuration(1000, {"sandbox-paths": "/archives=/pool"}).splitlines()
    for line in (
        "sandbox = true",
        "sandbox-fallback = false",
        "sandbox-paths = /archives=/pool",
        "substituters = ",
        "require-sigs = true",
        "trusted-public-keys = ",
        "build-users-group = nixbld",
        "max-build-log-size = 1000",
    ):
        assert line in lines
