"""One installation of an environment, as its steps share it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from nix.deadline import Deadline
from nix.package_set import OpenPackageSet
from nix.progress import Progress
from nix.turns import InstallationTurns


@dataclass(frozen=True)
class Installation:
    """One installation: its package set, its limits, and its place among others."""

    package_set: OpenPackageSet
    deadline: Deadline
    progress: Progress
    turns: InstallationTurns

    def preparation(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot for resolving, or for all steps from the download to the publication."""
        return self._held(self.turns.preparation())

    def evaluation(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot for an evaluation."""
        return self._held(self.turns.evaluation())

    def build(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot for a build."""
        return self._held(self.turns.build())

    @asynccontextmanager
    async def _held(self, slot: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
        """Hold a slot, without charging the wait to the deadline."""
        async with AsyncExitStack() as stack:
            with self.deadline.stopped():
                await stack.enter_async_context(slot)
            yield
