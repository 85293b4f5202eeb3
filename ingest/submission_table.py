"""The local table of an ingest node: the state of each submission, and its events.

A state is the fold of the events that this node has consumed. Its row has the JSON of a row of
`submissions.store`, after the offset from which further events are folded into it. So an event may be read
twice, and a state that was copied from the store ("seeded") continues with the event that it lacks first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from confluent_kafka import Message
from pydantic import ValidationError

from ingest import listing
from topics.fold import Recorded
from topics.kafka.codec import DecodeError, decode, decode_key, encode, header
from topics.request.limits import MiB
from topics.submissions.facts import FACTS, SubmissionFact
from topics.submissions.fold import apply
from topics.submissions.state import FOLD_VERSION, ROW_VERSION, Submission
from topics.views.journal import JournalEntry, entries
from topics.views.table import RowChange, Table
from topics.views.view import next_offsets

EVENTS, STORE = "events", "store"
"""First words of the names of offsets in the table; the second one is the partition."""
_CAUGHT_UP = "caught-up"
"""Name of an offset that is 1 once all events were folded that were on the topic when the table was new."""
_BATCH = 1000
_RECENT_BYTES = 8 * MiB
"""Bytes of JSON of all states that are kept as models, since events of one submission are close together."""
_LEAST_BYTES = 16 * 1024
"""Bytes that a state counts at least, as a small model takes more memory than its JSON."""
_OFFSET_BYTES = 8
_KEEP = b""
"""Value of a doubted row that is kept if no event explains it."""

OnFolded = Callable[[Recorded[SubmissionFact], Submission], None]
"""Called with each event that changed a state, and the new state."""
OnSettled = Callable[[str, Submission | None], None]
"""Called with each id whose state was corrected without an event, and the state."""


class StateRow(NamedTuple):
    """A state with the offset of the first event that is not folded into it."""

    next_offset: int
    state: Submission

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Parse the row of a table."""
        return cls(int.from_bytes(raw[:_OFFSET_BYTES]), Submission.read(raw[_OFFSET_BYTES:]))

    def change(self) -> RowChange:
        """Return the row as a table keeps it; unfinished submissions over HTTP are counted by owner."""
        state = self.state
        counts = state.source == "http" and not state.final
        return RowChange(
            key=state.id.encode(),
            value=self.next_offset.to_bytes(_OFFSET_BYTES) + encode(state),
            status=(state.owner or "").encode() if counts else None,
            summary=listing.listed(state).model_dump_json().encode(),
        )


class _Recent:
    """States that changed last, as models. One thread writes, any thread reads."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[StateRow, int]] = {}
        self._bytes = 0

    def get(self, id: str) -> StateRow | None:
        found = self._rows.get(id)
        return found[0] if found else None

    def put(self, id: str, row: StateRow, size: int) -> None:
        self.discard(id)
        self._rows[id] = row, max(size, _LEAST_BYTES)
        self._bytes += max(size, _LEAST_BYTES)
        while self._bytes > _RECENT_BYTES:
            self.discard(next(iter(self._rows)))

    def discard(self, id: str) -> None:
        self._bytes -= self._rows.pop(id, (None, 0))[1]


class SubmissionTable:
    """States and events of submissions. One thread writes, any thread reads."""

    def __init__(
        self, directory: Path, events_topic: str, on_folded: OnFolded, on_settled: OnSettled
    ) -> None:
        """Prepare a table; `open` opens its files, which no other instance uses."""
        self.rows = Table(directory, index=listing.index())
        self._events_topic, self._on_folded, self._on_settled = events_topic, on_folded, on_settled
        self._recent = _Recent()
        self._doubted: dict[str, bytes | None] = {}
        """Rows of the store that no event explains, by id; None for one that the store has deleted."""
        self._store_offsets: dict[str, int] = {}
        """Offsets of records of the store that needed nothing; the next write of events keeps them."""
        self._complete = self._caught_up = False

    def open(
        self, identity: str, may_resume: Callable[[Mapping[str, int]], bool], *, is_complete: bool
    ) -> Mapping[str, int]:
        """Open the files, and return the next offsets to read by name; a new table, to be seeded, has none.

        The table is recreated if it is corrupt, if it was written with another `identity` or version of the
        fold or its rows, if it never caught up, or if `may_resume` is False for its offsets. `is_complete` is
        whether the topic has all events that were ever appended.
        """

        def may_resume_this(_: float, found: Mapping[str, int]) -> bool:
            return _CAUGHT_UP in found and may_resume(found)

        self._complete = is_complete
        version = f"fold-{FOLD_VERSION}/rows-{ROW_VERSION}"
        offsets = self.rows.open(f"{identity}/{version}", may_resume_this)
        self._caught_up = bool(offsets)
        return offsets

    def get(self, id: str) -> Submission | None:
        """Return the state after all events that were folded, or None if there is none."""
        row = self._row(id)
        return row.state if row else None

    def made_by(self, id: str, offset: int) -> Submission | None:
        """Return the state if the event at this offset made it, and no later event has changed it."""
        row = self._row(id)
        return row.state if row and row.next_offset == offset + 1 else None

    def events(self, id: str, offset: int = 0) -> Iterator[JournalEntry]:
        """Return the events of a submission from this offset on, in order."""
        return entries(self.rows, id, offset)

    def unfinished(self, owner: str | None) -> int:
        """Return the number of unfinished submissions over HTTP of this owner; None is no API key."""
        return self.rows.counts[(owner or "").encode()]

    @property
    def all_unfinished(self) -> int:
        """Number of unfinished submissions over HTTP."""
        return len(self.rows.statuses)

    def counts(self, id: str) -> bool:
        """Return whether a submission is one of `all_unfinished`."""
        return id.encode() in self.rows.statuses

    # -- the thread that writes ------------------------------------------------------------------------

    def seed(
        self, stored: Iterable[Message], committed: Mapping[int, int], offsets: Mapping[str, int]
    ) -> int:
        """Copy rows of the store, which is read on from `offsets`; return the number of records.

        `committed` are the offsets of the events that the rows have at least. A row may have later events,
        as its record names the last one.
        """
        changes = (self._seeded(message, committed) for message in stored)
        rows = 0
        while batch := list(islice(changes, _BATCH)):
            self.rows.write(filter(None, batch), {})
            rows += len(batch)
        self.rows.write((), offsets)
        return rows

    def fold(self, messages: list[Message]) -> list[str]:
        """Fold events into their states, and keep them, in one atomic write; return the ids."""
        changed: dict[str, StateRow] = {}
        appended: dict[str, list[JournalEntry]] = {}
        for message in messages:
            try:
                id = decode_key(message)
            except DecodeError:
                continue  # no query can ask for it
            entry = JournalEntry.of(message)
            appended.setdefault(id, []).append(entry)
            if self._has(id, entry.offset):
                continue  # without parsing the state: a new table has a long log behind it
            if row := self._folded(changed.get(id) or self._row(id), id, entry):
                changed[id] = row
        offsets = next_offsets(messages, f"{EVENTS}/") | self._store_offsets
        self._store_offsets.clear()
        kept = (entry.row(id) for id, found in appended.items() for entry in found)
        self._write(changed, [row.change() for row in changed.values()], offsets, kept)
        return list(appended)

    def reconcile(self, messages: list[Message]) -> list[str]:
        """Compare records of the store with the events; return the ids whose states may have changed.

        A record that names its event needs nothing, as this node folds the event itself. Others are of a
        rebuild, or were written by hand. Offsets alone cause no write, since that would be one for each
        transaction of the store.
        """
        for message in messages:
            if self._event_of(message) is None and (id := _id(message)):
                self._doubted[id] = _bytes(message.value())
        self._store_offsets |= next_offsets(messages, f"{STORE}/")
        return self._settle({}) if self._doubted and self._caught_up else []

    def caught_up(self) -> list[str]:
        """Note that all events of the start are folded; return the ids whose states may have changed."""
        self._caught_up = True
        return self._settle({_CAUGHT_UP: 1})

    def _settle(self, offsets: Mapping[str, int]) -> list[str]:
        """Fold the events of doubted ids again; the row of the store is used only if there are none.

        These may be all submissions, after an upgrade with another fold. So they are written in batches. The
        offsets follow, since to settle an id twice changes nothing.
        """
        ids, doubted = list(self._doubted), iter(self._doubted.items())
        while batch := list(islice(doubted, _BATCH)):
            self._write({}, [change for id, raw in batch if (change := self._settled(id, raw))], {})
        for id in ids:
            self._on_settled(id, self.get(id))
        self._doubted.clear()
        self._write({}, [], {**self._store_offsets, **offsets})
        self._store_offsets.clear()
        return ids

    def _settled(self, id: str, raw: bytes | None) -> RowChange | None:
        row: StateRow | None = None
        for entry in self.events(id) if self._complete else ():
            row = self._folded(row, id, entry, again=True) or row
        if row:
            return row.change()
        if raw == _KEEP or (not self._complete and self._row(id)):
            return None
        stored = _read(raw) if raw else None
        return StateRow(0, stored).change() if stored else RowChange(id.encode(), None)

    def _folded(
        self, row: StateRow | None, id: str, entry: JournalEntry, *, again: bool = False
    ) -> StateRow | None:
        """Return the row after an event, or None if the event changes nothing."""
        if row and entry.offset < row.next_offset:
            return None
        try:
            recorded = recorded_of(id, entry)
        except DecodeError:
            return None  # as in the store, which makes a dead letter of it
        folded = apply(row.state if row else None, recorded)
        if folded.state is None or folded.refused is not None:
            return None
        if not again:
            self._on_folded(recorded, folded.state)
        return StateRow(entry.offset + 1, folded.state)

    def _row(self, id: str) -> StateRow | None:
        if recent := self._recent.get(id):
            return recent
        raw = self.rows.get(id.encode())
        return StateRow.read(raw) if raw else None

    def _has(self, id: str, offset: int) -> bool:
        """Return whether the state on disk has this event."""
        raw = None if self._recent.get(id) else self.rows.get(id.encode())
        return raw is not None and offset < int.from_bytes(raw[:_OFFSET_BYTES])

    def _write(
        self,
        changed: Mapping[str, StateRow],
        changes: list[RowChange],
        offsets: Mapping[str, int],
        appended: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Write rows, and only then show them: what was read once is still there after a restart."""
        self.rows.write(changes, offsets, appended)
        for change in changes:
            id = change.key.decode()
            if id in changed:
                self._recent.put(id, changed[id], len(change.value or b""))
            else:
                self._recent.discard(id)

    def _seeded(self, message: Message, committed: Mapping[int, int]) -> RowChange | None:
        id, raw = _id(message), _bytes(message.value())
        if id is None:
            return None
        if raw is None:
            return RowChange(id.encode(), None)
        event, state = self._event_of(message), _read(raw)
        if event is None or state is None or state.fold_version != FOLD_VERSION:
            self._doubted[id] = _KEEP
        at_least = committed.get(message.partition() or 0, 0)
        return StateRow(max(at_least, (event or 0) + 1), state).change() if state else None

    def _event_of(self, message: Message) -> int | None:
        """Return the offset of the event that a record of the store names; None if it names none."""
        origin, _, offset = (header(message, "ce_id") or "").rpartition("/")
        is_event = origin == f"{self._events_topic}/{message.partition()}" and offset.isdecimal()
        return int(offset) if is_event else None


def recorded_of(id: str, entry: JournalEntry) -> Recorded[SubmissionFact]:
    """Decode the event of an entry.

    Raises:
        DecodeError: its type is unknown, or its value is not of its type.
    """
    if (model := FACTS.get(entry.type)) is None:
        raise DecodeError(f"unknown ce_type {entry.type!r}")
    return Recorded(id, decode(model, entry.value), entry.time_ms)


def _id(message: Message) -> str | None:
    try:
        return decode_key(message)
    except DecodeError:
        return None


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw


def _read(raw: bytes) -> Submission | None:
    try:
        return Submission.read(raw)
    except ValidationError:
        return None
