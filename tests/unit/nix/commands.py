"""A runner that answers Nix's commands without running them."""

from collections.abc import Mapping, Sequence
from typing import Any

from nix.runner import Ran

DONE = Ran(b"", b"", 0, None, None)


class Answers:
    """Implementation of `nix.runner.Runner` that keeps what it was asked to run."""

    def __init__(self, answers: Mapping[str, Ran] | None = None) -> None:
        """Answer a command that has a word of `answers` with its value, any other with success."""
        self.answers = answers or {}
        self.commands: list[Sequence[str]] = []

    async def sandboxed(self, argv: Sequence[str], **_: Any) -> Ran:
        return await self.bounded(argv)

    async def bounded(self, argv: Sequence[str], **_: Any) -> Ran:
        self.commands.append(argv)
        return next((ran for word, ran in self.answers.items() if word in argv), DONE)

    def ran(self, word: str) -> int:
        """How many commands had a word."""
        return sum(word in argv for argv in self.commands)
