"""One installation of an environment, as its steps share it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from nix.deadline import Deadline
from nix.package_set import OpenPackageSet
from nix.progress import Progress
from nix.turns import Turns


@dataclass(frozen=True)
class Installation:
    """One installation: its limits, its place among others, and a folder for its files."""

    package_set: OpenPackageSet
    deadline: Deadline
    progress: Progress
    turns: Turns

    @asynccontextmanager
    async def evaluation(self) -> AsyncIterator[None]:
        """Hold a slot for an evaluation, without charging the wait to the deadline."""
        async with AsyncExitStack() as stack:
            with self.deadline.stopped():
                await stack.enter_async_context(self.turns.evaluation())
            yield

    @asynccontextmanager
    async def build(self) -> AsyncIterator[None]:
        """Hold a slot for a build, without charging the wait to the deadline."""
        async with AsyncExitStack() as stack:
            with self.deadline.stopped():
                await stack.enter_async_context(self.turns.build())
            yield
