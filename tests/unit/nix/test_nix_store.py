import asyncio
from pathlib import Path

import pytest

from nix.errors import CacheError
from nix.nix_store import NixStore, configuration
from nix.runner import Ran
from tests.unit.nix.commands import Answers

STORE_PATH = "/nix/store/" + "0" * 32 + "-environment"
CHECK, LOAD = "--check-validity", "--load-db"
INVALID = Ran(b"", f"error: path '{STORE_PATH}' is not valid\n".encode(), 1, None, None)


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


class Registering:
    """A store in which a store path has files already, and a tree that is to take its place."""

    def __init__(self, root: Path, answer: Ran) -> None:
        self.runner = Answers({CHECK: answer})
        self.store = NixStore(root, self.runner, 1 << 30)
        self.work, self.place = root / "work", self.store.physical(STORE_PATH)
        for folder, content in ((self.work / "tree", "new"), (self.place, "old")):
            folder.mkdir(parents=True)
            (folder / "file").write_text(content)

    def register(self) -> int:
        return asyncio.run(self.store.register(self.work / "tree", STORE_PATH, self.work))

    def content(self) -> str:
        return (self.place / "file").read_text()


@pytest.mark.parametrize(
    "answer",
    [
        Ran(b"", b"", None, "SIGKILL", "wall_time_s"),
        Ran(b"", b"", None, "SIGKILL", "memory_bytes"),
        Ran(b"", b"error: SQLite database '/nix/var/nix/db/db.sqlite' is full\n", 1, None, None),
        Ran(b"", INVALID.stderr, 1, None, "wall_time_s"),
    ],
)
def test_a_store_path_that_cannot_be_looked_up_stays(tmp_path: Path, answer: Ran) -> None:
    registering = Registering(tmp_path, answer)
    with pytest.raises(CacheError, match="could not be looked up"):
        registering.register()
    assert registering.content() == "old"
    assert registering.runner.ran(LOAD) == 0
