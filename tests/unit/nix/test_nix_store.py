from nix.nix_store import configuration


def test_builds_are_sandboxed_and_reach_nothing() -> None:
    lines = configuration(1000, {"sandbox-paths": "/archives=/pool /bounds=/build/bounds"}).splitlines()
    for line in (
        "sandbox = true",
        "sandbox-fallback = false",
        "sandbox-paths = /archives=/pool /bounds=/build/bounds",
        "substituters = ",
        "require-sigs = true",
        "trusted-public-keys = ",
        "build-users-group = nixbld",
        "max-build-log-size = 1000",
    ):
        assert line in lines
