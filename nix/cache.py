"""The Cache: one store path for each set of dependencies, built once, mountable read-only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nix.dependencies import Dependencies
from nix.runner import Runner
from nix.settings import NixSettings


@dataclass(frozen=True)
class BuildLimits:
    """What evaluating and building one set of dependencies may use."""

    wall_time_s: float = 300.0
    memory_bytes: int = 2 << 30
    stdout_bytes: int = 1 << 20
    stderr_bytes: int = 1 << 20


@dataclass(frozen=True)
class Installed:
    """An environment in the Cache."""

    store_path: str
    """What `hold` takes; the same on every host."""
    variables: dict[str, str]
    """Environment variables that the expression asked for."""
    packages: list[str]
    """All packages in the environment, the resolved closure, sorted."""
    size_bytes: int
    log: str
    """What the build printed."""


class Cache:
    """A Nix store below `settings.nix_root`, shared by the processes of a host."""

    def __init__(self, settings: NixSettings, runner: Runner) -> None:
        self.settings = settings
        self.runner = runner

    async def install(
        self, dependencies: Dependencies, pin: str, limits: BuildLimits, progress: Callable[[str], None]
    ) -> Installed:
        """Evaluate, resolve, fetch and build, once for all processes of the host; root the result.

        Raises DependenciesError (theirs) or CacheError (ours).
        """
        raise NotImplementedError

    @contextmanager
    def hold(self, store_path: str) -> Iterator[Path]:
        """Keep an environment from being evicted; yields the folder of its tree (usr, etc, var).

        Raises MissingError if it is not in this Cache.
        """
        raise NotImplementedError
