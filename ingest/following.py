"""States of submissions that this node accepted, ahead of the store by one transaction.

A node that consumes all events of an id can fold them with the pure function of the store. It therefore knows
the state that the store will have, and which request was the first with the id. An id is unused if
the node has just generated it, or if a journal of all events has none of it.
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
    """Owner of the state, or of the present request if there is no state yet."""
    until: Callable[[bytes], bool]
    """Predicate that is true for a row of the view that may replace the state."""
    state: Submission | None = None
    read_to: int = 0
    """Offset after the last event that was consumed; all events of an id are on one partition."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Following:
    """Fold of a few submissions, each of which ends when the view of the store has caught up with it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._followed: dict[str, _Followed] = {}
        self._unseen: set[str] = set()
        """Ids that the view does not have yet, or has only just received."""

    def start(self) -> None:
        """Bind this object to the running event loop; call it before `take`."""
        self._loop = asyncio.get_running_loop()

    def follow_if_new(
        self, id: str, history: Journal, until: Callable[[bytes], bool], owner: str | None
    ) -> bool:
        """Follow an id that any node may use at this moment; return False if it may have been used before.

        `take` must receive the records of `history`: those that it does not have yet arrive after this call.
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
        """Follow an id that the view does not have, from the state that the events of the journal fold to.

        `take` must receive the records of `history`, as for `follow_if_new`.
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
        self._look([id])  # its row may have arrived since

    def follow(self, id: str, until: Callable[[bytes], bool], owner: str | None = None) -> None:
        """Follow an id; from now on `take` receives all of its events that the caller does not fold."""
        self._followed[id] = _Followed(owner, until)
        self._unseen.add(id)

    def at_least(self, id: str, first: Submission) -> None:
        """Set the state after the first, acknowledged event unless that event has been consumed already."""
        if (followed := self._followed.get(id)) and followed.state is None:
            followed.state = first

    def forget(self, id: str) -> None:
        """Stop following an id, unless it has a state, which may have been sent to a client."""
        followed = self._followed.get(id)
        if followed is None or followed.state is not None:
            return
        del self._followed[id]
        self._unseen.discard(id)
        followed.changed.set()

    def get(self, id: str) -> Submission | None:
        """Return the state as of the last consumed event, or None if there is none or it is not followed."""
        followed = self._followed.get(id)
        return followed.state if followed else None

    @property
    def unseen_at_most(self) -> int:
        """Number of ids that the view may not have yet."""
        return len(self._unseen)

    def unfinished_beside_view(self) -> int:
        """Return by how many unfinished submissions this node exceeds the view; it may be negative."""
        return sum(map(self._beside_view, self._followed))

    def unfinished_beside_view_of(self, owner: str | None) -> int:
        """Return `unfinished_beside_view` of one owner."""
        return sum(self._beside_view(id) for id, one in self._followed.items() if one.owner == owner)

    def _beside_view(self, id: str) -> int:
        state, raw = self._followed[id].state, self._view.get(id)
        ended = state is not None and state.final
        if raw is None:
            return 0 if ended else 1
        return -1 if ended and unfinished(raw) else 0

    async def wait_read_to(self, id: str, offset: int) -> None:
        """Wait until all events of an id before this offset are folded, or until it is not followed."""
        while (followed := self._followed.get(id)) and followed.read_to < offset:
            followed.changed.clear()
            await followed.changed.wait()

    async def wait_final(self, id: str) -> Submission | None:
        """Wait for the end of a submission and return it, or None once it is not followed."""
        while followed := self._followed.get(id):
            if followed.state and followed.state.final:
                return followed.state
            followed.changed.clear()
            await followed.changed.wait()
        return None

    def rows(self, messages: list[Message]) -> None:
        """Compare new rows with the followed ids; call it from the view's thread, once it has the rows."""
        mine = {key for message in messages if (key := _key(message)) in self._followed}
        if mine:
            self._loop.call_soon_threadsafe(self._look, mine)

    def _look(self, ids: Iterable[str]) -> None:
        """Stop following the ids with which the view has caught up."""
        for id in ids:
            followed, raw = self._followed.get(id), self._view.get(id)
            if followed is None or raw is None:
                continue
            self._unseen.discard(id)
            # Without a state none of its events was folded here: then the row is newer.
            if followed.state is None or (followed.until(raw) and not _behind(raw, followed.state)):
                del self._followed[id]
                followed.changed.set()

    def take(self, messages: list[Message]) -> None:
        """Fold events, in their order; call it from the thread that consumes them, with all of them."""
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
                continue  # as in the store, which makes a dead letter of it
            if folded.refused is None:
                followed.state = folded.state
                followed.owner = folded.state.owner if folded.state else followed.owner


def _behind(raw: bytes, state: Submission | None) -> bool:
    """Return whether a row may be older than `state`; clients must not see a submission go back."""
    if state is None:
        return False
    stored = Submission.read(raw)
    return stored != state and (unfinished(raw) or stored.status == "rejected")


def _key(message: Message) -> str:
    try:
        return decode_key(message)
    except DecodeError:
        return ""
