"""The interface by which installations of one process take turns; processors implement it."""

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol


class InstallationTurns(Protocol):
    """Slots of one installation's steps. Waiting for a slot is not charged to the installation's time."""

    def evaluation(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot in which one expression is evaluated."""
        ...

    def preparation(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot in which archives are found, or one environment is fetched, built and published."""
        ...

    def build(self) -> AbstractAsyncContextManager[None]:
        """Hold a slot in which one environment is unpacked and built, besides one of `preparation`."""
        ...


class Unlimited:
    """InstallationTurns of a process that installs one environment at a time."""

    def evaluation(self) -> AbstractAsyncContextManager[None]:
        """Return a context without a limit."""
        return nullcontext()

    def preparation(self) -> AbstractAsyncContextManager[None]:
        """Return a context without a limit."""
        return nullcontext()

    def build(self) -> AbstractAsyncContextManager[None]:
        """Return a context without a limit."""
        return nullcontext()
