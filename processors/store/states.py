"""The rows of one partition on disk (RocksDB), so that memory does not grow with their number or size."""

import shutil
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from rocksdict import Options, Rdict, WriteOptions

_BUFFER_BYTES = 16 << 20


class States(MutableMapping[str, bytes]):
    """Scratch database of rows, which is restored from the store at each assignment."""

    def __init__(self, folder: Path) -> None:
        """Create an empty database in `folder`, which this instance alone uses; its contents are removed."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(_BUFFER_BYTES)
        self._folder = folder
        self._db = Rdict(str(folder), options)
        in_memory_first = WriteOptions()
        # No row outlives the process, and without a log a full disk refuses no write.
        in_memory_first.disable_wal = True  # type: ignore[method-assign, assignment]  # its stub has a method
        self._db.set_write_options(in_memory_first)
        self._rows = 0

    def close(self) -> None:
        """Close the database and remove its folder."""
        self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __getitem__(self, key: str) -> bytes:
        value: bytes | None = self._db.get(key.encode())
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: bytes) -> None:
        self._rows += key not in self
        self._db[key.encode()] = value

    def __delitem__(self, key: str) -> None:
        self[key]
        del self._db[key.encode()]
        self._rows -= 1

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.encode() in self._db

    def __iter__(self) -> Iterator[str]:
        return (key.decode() for key in self._db.keys() if isinstance(key, bytes))  # noqa: SIM118 - no dict

    def __len__(self) -> int:
        return self._rows
