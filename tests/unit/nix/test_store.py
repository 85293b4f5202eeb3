from pathlib import Path

from nix.store import configuration


def test_builds_are_sandboxed_and_reach_nothing() -> None:
    lines = configuration(Path("/pool"), Path("/build/bounds"), 1000).splitlines()
    for line in (
        "sandbox = true",
        "sandbox-fallback = false",
        "sandbox-paths = /archives=/pool /bounds=/build/bounds",
        "substituters = ",
        "build-users-group = nixbld",
        "max-build-log-size = 1000",
    ):
        assert line in lines
