"""Submissions made here, a transaction ahead of the store.

A node that follows an id from its first event on can fold its events itself, with the same pure function, as
they arrive: what it sees is what the store will say, also of who was first with the id. That an id is new is
known of those that the node makes, and of others where the journal, which has all events that were heard so
far, has none of it.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Message

from ingest.story import Story
from topics.kafka.codec import DecodeError, decode_fact, decode_key
from topics.submissions.facts import FACTS
from topics.submissions.fold import apply
from topics.submissions.state import Submission, unfinished
from topics.views.journal import Journal
from topics.views.view import View


@dataclass(slots=True)
class _Followed:
    owner: str | None
    """Of the state; of who asks for it now, while there is none."""
    until: Callable[[bytes], bool]
    """Whether a row of the view is enough."""
    state: Submission | None = None
    read_to: int = 0
    """Offset after the last event that arrived; all events of an id are on one partition."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Following:
    """Folds the events of a few submissions, until the store's view has overtaken them."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._followed: dict[str, _Followed] = {}
        self._unseen: set[str] = set()
        """Those that the store does not show yet, or shows since this moment."""

    def start(self) -> None:
        """To be called on the event loop, before `take`."""
        self._loop = asyncio.get_running_loop()

    def follow_if_new(
        self, id: str, history: Journal, until: Callable[[bytes], bool], owner: str | None
    ) -> bool:
        """`follow`, of an id that anybody may use at this moment; False where it may have been used before.

        `history` must be what `take` is told of: whatever is not in it is told after this call.
        """
        if id in self._followed:
            return True
        if not (history.complete and history.caught_up):
            return False
        self.follow(id, until, owner)
        if self._view.get(id) is None and not any(history.since(id, 0)):
            return True
        self.forget(id)
        return False

    def catch_up(self, id: str, history: Journal, until: Callable[[bytes], bool]) -> None:
        """Follow an id that the view does not show, if the journal has events of it, from where that is.

        `history` as in `follow_if_new`.
        """
        if began := id not in self._followed:
            self.follow(id, until)
        followed, story = self._followed[id], Story(id)
        for entry in history.since(id, 0):
            story.take(entry)
        if story.state is not None and followed.read_to < story.read_to:
            followed.state, followed.read_to, followed.owner = story.state, story.read_to, story.state.owner
            followed.changed.set()
        if began:
            self.forget(id)
        self._look([id])  # its row may have come meanwhile

    def follow(self, id: str, until: Callable[[bytes], bool], owner: str | None = None) -> None:
        """Follow an id, all of whose events are told to `take` from now on or folded by the caller."""
        self._followed[id] = _Followed(owner, until)
        self._unseen.add(id)

    def at_least(self, id: str, first: Submission) -> None:
        """What its first event, now acknowledged, made of it, should that not have arrived here yet."""
        if (followed := self._followed.get(id)) and followed.state is None:
            followed.state = first

    def forget(self, id: str) -> None:
        """Follow it no more, unless it exists: somebody may have been told what it has come to."""
        followed = self._followed.get(id)
        if followed is None or followed.state is not None:
            return
        del self._followed[id]
        self._unseen.discard(id)
        followed.changed.set()

    def get(self, id: str) -> Submission | None:
        """It, as of the last event that arrived; None if it is not followed (any more), or has none yet."""
        followed = self._followed.get(id)
        return followed.state if followed else None

    @property
    def unseen_at_most(self) -> int:
        """How many the store may not show yet."""
        return len(self._unseen)

    def unfinished_beside_view(self) -> int:
        """How many more are unfinished than the store shows, or fewer."""
        return sum(map(self._beside_view, self._followed))

    def unfinished_beside_view_of(self, owner: str | None) -> int:
        """The same of one owner's."""
        return sum(self._beside_view(id) for id, one in self._followed.items() if one.owner == owner)

    def _beside_view(self, id: str) -> int:
        state, raw = self._followed[id].state, self._view.get(id)
        ended = state is not None and state.final
        if raw is None:
            return 0 if ended else 1
        return -1 if ended and unfinished(raw) else 0

    async def wait_read_to(self, id: str, offset: int) -> None:
        """Return when all of its events before this offset have arrived, or it is not followed any more."""
        while (followed := self._followed.get(id)) and followed.read_to < offset:
            followed.changed.clear()
            await followed.changed.wait()

    async def wait_final(self, id: str) -> Submission | None:
        """It, once it is final; None once it is not followed (any more)."""
        while followed := self._followed.get(id):
            if followed.state and followed.state.final:
                return followed.state
            followed.changed.clear()
            await followed.changed.wait()
        return None

    def rows(self, messages: list[Message]) -> None:
        """Records of the store, when the view has taken them in; to be called from its thread."""
        mine = {key for message in messages if (key := _key(message)) in self._followed}
        if mine:
            self._loop.call_soon_threadsafe(self._look, mine)

    def _look(self, ids: Iterable[str]) -> None:
        """End following what the view has overtaken."""
        for id in ids:
            followed, raw = self._followed.get(id), self._view.get(id)
            if followed is None or raw is None:
                continue
            self._unseen.discard(id)
            # Without a state none of its events was read here: then the row knows more.
            if followed.state is None or (followed.until(raw) and not _behind(raw, followed.state)):
                del self._followed[id]
                followed.changed.set()

    def take(self, messages: list[Message]) -> None:
        """Events, in their order; to be called from the thread that reads them, with all of them."""
        mine = [message for message in messages if _key(message) in self._followed]
        if mine:
            self._loop.call_soon_threadsafe(self._fold, mine)

    def _fold(self, messages: list[Message]) -> None:
        for message in messages:
            followed, offset = self._followed.get(_key(message)), message.offset() or 0
            if followed is None or offset < followed.read_to:
                continue
            followed.read_to = offset + 1
            followed.changed.set()
            try:
                folded = apply(followed.state, decode_fact(message, FACTS))
            except DecodeError:
                continue  # as in the store: it becomes a dead letter
            if folded.refused is None:
                followed.state = folded.state
                followed.owner = folded.state.owner if folded.state else followed.owner


def _behind(raw: bytes, state: Submission | None) -> bool:
    """Whether a row may be of an earlier state than `state`: nobody is told that it went back."""
    if state is None:
        return False
    stored = Submission.read(raw)
    return stored != state and (unfinished(raw) or stored.status == "rejected")


def _key(message: Message) -> str:
    try:
        return decode_key(message)
    except DecodeError:
        return ""
