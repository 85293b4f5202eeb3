"""Submissions made here, a transaction ahead of the store.

A node that makes a submission knows that its Requested is the first event with that id, so it can fold
the events itself, with the same pure function, as they arrive: what it sees is what the store will say.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import Message

from topics.codec import UndecodableError, decode_fact, decode_key
from topics.submissions.facts import FACTS
from topics.submissions.fold import apply
from topics.submissions.state import Submission, unfinished
from topics.view import View


@dataclass(slots=True)
class _Followed:
    state: Submission | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    overtaken: "asyncio.Task[None] | None" = None


class Following:
    """Folds the events of a few submissions, until the store's view has overtaken them."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._followed: dict[str, _Followed] = {}
        self._unseen: dict[str, str | None] = {}
        """Those that the store does not show yet, or shows since this moment, with their owners."""

    def start(self) -> None:
        """To be called on the event loop, before `take`."""
        self._loop = asyncio.get_running_loop()

    def follow(self, id: str, until: Callable[[bytes | None], bool], owner: str | None = None) -> None:
        """Follow an id that nobody used before, before its first event, until the view's row satisfies."""
        self._followed[id] = followed = _Followed()
        self._unseen[id] = owner
        followed.overtaken = asyncio.create_task(self._until_overtaken(id, followed, until))

    def at_least(self, id: str, first: Submission) -> None:
        """What its first event, now acknowledged, made of it, should that not have arrived here yet."""
        if (followed := self._followed.get(id)) and followed.state is None:
            followed.state = first

    def forget(self, id: str) -> None:
        """Follow it no more."""
        self._unseen.pop(id, None)
        if (followed := self._followed.pop(id, None)) and followed.overtaken:
            followed.overtaken.cancel()

    def get(self, id: str) -> Submission | None:
        """It, as of the last event that arrived; None if it is not followed (any more), or has none yet."""
        followed = self._followed.get(id)
        return followed.state if followed else None

    @property
    def unseen_at_most(self) -> int:
        """`count_unseen`, or a few more."""
        return len(self._unseen)

    def count_unseen(self) -> int:
        """How many the store does not show yet."""
        return sum(self._view.get(id) is None for id in self._unseen)

    def count_unseen_of(self, owner: str | None) -> int:
        """The same of one owner's."""
        return sum(whose == owner and self._view.get(id) is None for id, whose in self._unseen.items())

    async def wait_final(self, id: str) -> None:
        """Return when it is final, or not followed any more."""
        while (followed := self._followed.get(id)) and not (followed.state and followed.state.final):
            followed.changed.clear()
            await followed.changed.wait()

    async def _until_overtaken(
        self, id: str, followed: _Followed, until: Callable[[bytes | None], bool]
    ) -> None:
        def overtaken(raw: bytes | None) -> bool:
            return until(raw) and raw is not None and not _behind(raw, followed.state)

        await self._view.wait_for(id, _is_there, None)
        self._unseen.pop(id, None)
        await self._view.wait_for(id, overtaken, None)
        self._followed.pop(id, None)
        followed.changed.set()

    def take(self, messages: list[Message]) -> None:
        """Events, in their order; to be called from the thread that reads them, with all of them."""
        mine = [message for message in messages if _key(message) in self._followed]
        if mine:
            self._loop.call_soon_threadsafe(self._fold, mine)

    def _fold(self, messages: list[Message]) -> None:
        for message in messages:
            followed = self._followed.get(_key(message))
            if followed is None:
                continue
            try:
                folded = apply(followed.state, decode_fact(message, FACTS))
            except UndecodableError:
                continue  # as in the store: it becomes a dead letter
            if folded.refused is None:
                followed.state = folded.state
                followed.changed.set()


def _is_there(raw: bytes | None) -> bool:
    return raw is not None


def _behind(raw: bytes, state: Submission | None) -> bool:
    """Whether a row may be of an earlier state than `state`: nobody is told that it went back."""
    return state is not None and unfinished(raw) and Submission.read(raw) != state


def _key(message: Message) -> str:
    try:
        return decode_key(message)
    except UndecodableError:
        return ""
