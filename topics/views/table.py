"""A table on disk (RocksDB): rows, and the offsets up to which its topic was read, in one atomic write."""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rocksdict import AccessType, BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from topics.disk import DiskWatch
from topics.process import crash
from topics.request.limits import MiB

log = logging.getLogger(__name__)

_ROW, _STATUS, _OFFSET, _META, _SUMMARY, _INDEX = b"=", b"~", b"@", b"!", b"%", b"#"
_LAST = b"\xff"
_LOOK_S = 1.0
"""Time after which a full disk is looked at again."""
_BUFFER_BYTES, _LEVEL_BYTES, _FILE_BYTES = 2 * MiB, 16 * MiB, 4 * MiB
"""Size of a write buffer, of which there are up to two in memory, of level 1, and of a file.

RocksDB's defaults are 64, 256 and 64 MiB. Levels and files shrink with the buffer. Otherwise the first
compactions would write each row several times more.
"""
_CACHE = Cache(4 * MiB)
"""Cache of blocks that were read, which all tables of a process share. RocksDB's default is 32 MiB for each.

With these four bounds an ingest node has 113 MiB after 20,000 submissions instead of 137.
"""


class RowChange(NamedTuple):
    """The new value of a key's row; without a value the row is deleted."""

    key: bytes
    value: bytes | None
    status: bytes | None = None
    """Status under which the row is counted; None if it is not counted."""
    summary: bytes | None = None
    """Summary of the row, which determines its keys in the index; None without an index."""


class TableIndex(NamedTuple):
    """An order of rows, kept on disk."""

    name: str
    """Version of summaries and keys; it changes with them, so that the table is recreated."""
    keys: Callable[[bytes], Iterable[bytes]]
    """Pure function from a summary to the row's keys in the index; no other row has one of them."""


class Table:
    """Rows by key. No other instance uses the directory. `get` may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        *,
        index: TableIndex | None = None,
        kept_s: int | None = None,
    ) -> None:
        """Prepare a table; `open` opens its files.

        Rows older than `kept_s` are removed when RocksDB compacts its files.
        """
        self._directory, self._index, self._kept_s = directory, index, kept_s
        self._db: Rdict | None = None
        self._disk = DiskWatch.against_full(directory, waiting="reading of its topic")
        self.statuses: dict[bytes, bytes] = {}
        """Statuses of the rows that have one, by key."""
        self.counts: Counter[bytes] = Counter()
        """Number of rows by status."""

    def open(
        self, identity: str, may_resume: Callable[[float, Mapping[str, int]], bool]
    ) -> Mapping[str, int]:
        """Open the files, and return the offsets as of the last write, by name; a new table has none.

        The table is recreated if it is corrupt, was written with another `identity`, or
        `may_resume(age_s, offsets)` is False.
        """
        whose = "/".join([identity, *([self._index.name] if self._index else [])]).encode()
        with self._whole():
            db = self._db_if_whole()
            if db is None or db.get(_META + b"identity") != whose or not may_resume(_age_s(db), _offsets(db)):
                if db is not None:
                    db.close()
                shutil.rmtree(self._directory)
                db = self._open()
            db[_META + b"identity"] = whose
            self.statuses = dict(_below(db, _STATUS))
            self.counts = Counter(self.statuses.values())
            self._db = db
            return _offsets(db)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None if there is none (yet)."""
        with self._whole():
            value: bytes | None = self._db.get(_ROW + key) if self._db is not None else None
            return value

    def rows(self, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of the rows whose key begins with `prefix`, from `start` on, by key.

        `start` and the keys are without the prefix.
        """
        if self._db is not None:
            with self._whole():
                yield from _below(self._db, _ROW + prefix, start)

    def summary(self, key: bytes) -> bytes | None:
        """Return the summary of a row of a table with an index, or None if there is none."""
        with self._whole():
            summary: bytes | None = self._db.get(_SUMMARY + key) if self._db is not None else None
            return summary

    def indexed(self, prefix: bytes, before: bytes | None = None) -> Iterator[bytes]:
        """Yield the index's keys that begin with `prefix`, in descending order from before `before`.

        `before` and the keys are without the prefix.
        """
        if self._db is None:
            return
        first = _INDEX + prefix
        with self._whole():
            for key in self._db.keys(backwards=True, from_key=first + (before or _LAST)):
                assert isinstance(key, bytes)
                if not key.startswith(first):
                    return
                if (rest := key[len(first) :]) != before:
                    yield rest

    def write(
        self,
        changes: Iterable[RowChange],
        offsets: Mapping[str, int],
        appended: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Apply changes in their order, and set the next offsets to read, in one atomic write.

        `appended` are keys and values of rows that have neither status nor summary. While the disk is full,
        this waits: queries find what was written before.
        """
        assert self._db is not None
        while self._disk.shortage():
            time.sleep(_LOOK_S)
        batch = WriteBatch(raw_mode=True)
        summaries: dict[bytes, bytes | None] = {}
        for key, value in appended:
            batch.put(_ROW + key, value)
        for change in changes:
            self._put(batch, change)
            if self._index is not None:
                self._order(batch, self._index, change, summaries)
        for name, offset in offsets.items():
            batch.put(_OFFSET + name.encode(), str(offset).encode())
        batch.put(_META + b"saved_at", str(time.time()).encode())
        with self._whole():
            self._db.write(batch)

    def close(self) -> None:
        """Close the files; further queries find nothing."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Delete a corrupt table and end the process, whose next start reads the topic again.

        RocksDB finds some corruption only when it reads a block.
        """
        try:
            yield
        except Exception as error:
            if "Corruption" in str(error):  # rocksdict has no exception class for it
                shutil.rmtree(self._directory, ignore_errors=True)
                crash(f"the table in {self._directory} is broken: {error}")
            raise

    def _put(self, batch: WriteBatch, change: RowChange) -> None:
        key = change.key
        if change.value is None:
            batch.delete(_ROW + key)
        else:
            batch.put(_ROW + key, change.value)
        before = self.statuses.get(key)
        if before == change.status:
            return
        if before is not None:
            self.counts[before] -= 1
        if change.status is None:
            del self.statuses[key]
            batch.delete(_STATUS + key)
        else:
            self.statuses[key] = change.status
            self.counts[change.status] += 1
            batch.put(_STATUS + key, change.status)

    def _order(
        self, batch: WriteBatch, index: TableIndex, change: RowChange, summaries: dict[bytes, bytes | None]
    ) -> None:
        """Update the index. `summaries` are those of rows that this batch has changed already."""
        key = change.key
        old = summaries[key] if key in summaries else self.summary(key)
        new = summaries[key] = change.summary
        if new == old:
            return
        for gone in index.keys(old) if old is not None else ():
            batch.delete(_INDEX + gone)
        for there in index.keys(new) if new is not None else ():
            batch.put(_INDEX + there, b"")
        if new is None:
            batch.delete(_SUMMARY + key)
        else:
            batch.put(_SUMMARY + key, new)

    def _db_if_whole(self) -> Rdict | None:
        try:
            return self._open()
        except Exception as error:
            if "/LOCK" in str(error):  # another process has it open: it is not corrupt
                raise
            log.warning("the table in %s is broken, its topic is read again: %s", self._directory, error)
            return None

    def _open(self) -> Rdict:
        self._directory.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.set_keep_log_file_num(2)
        options.set_write_buffer_size(_BUFFER_BYTES)
        options.set_max_bytes_for_level_base(_LEVEL_BYTES)
        options.set_target_file_size_base(_FILE_BYTES)
        blocks = BlockBasedOptions()
        blocks.set_block_cache(_CACHE)
        options.set_block_based_table_factory(blocks)
        access = AccessType.read_write() if self._kept_s is None else AccessType.with_ttl(self._kept_s)
        return Rdict(str(self._directory), options, access_type=access)


def _age_s(db: Rdict) -> float:
    return time.time() - float(db.get(_META + b"saved_at") or 0)


def _offsets(db: Rdict) -> dict[str, int]:
    return {name.decode(): int(offset) for name, offset in _below(db, _OFFSET)}


def _below(db: Rdict, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    for key, value in db.items(from_key=prefix + start):
        assert isinstance(key, bytes)
        if not key.startswith(prefix):
            return
        yield key[len(prefix) :], value
