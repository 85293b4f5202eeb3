"""Results of expressions that were evaluated before, on disk, shared by the processes of a host.

An optimisation: without this module each installation evaluates its expression. The folder may be deleted at
any time.
"""

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from nix.errors import DependenciesError
from nix.evaluated import Evaluated, validate

log = logging.getLogger(__name__)

EVALUATOR = 1
"""Version of what an evaluation makes of equal text and pin. Raise it if `nix.evaluation` changes that."""
KEPT = 1000
"""Results that are kept. One takes 4 KiB on disk as a rule, and 0.8 MiB at most."""
SWEPT = 0.9
"""Share of `KEPT` that remains when results are removed, so that this happens seldom."""
_DIGEST = hashlib.sha256
_DIGEST_BYTES = _DIGEST().digest_size


class Evaluations:
    """A folder of results, a file for each pair of expression and pin; the least recently used 1000 are kept.

    Only successes are kept. Methods block on files for a few milliseconds, and may be called from any thread.
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made when the first result is kept."""
        self._folder = folder

    def get(self, expression: str, pin: str) -> Evaluated | None:
        """Return the result of an expression, and mark it as used.

        Return None if it is absent, cannot be read, or is damaged. A damaged file is removed.
        """
        path = self._path(expression, pin)
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s cannot be read, the expression is evaluated again: %s", path, error)
            return None
        try:
            return _decode(content)
        except (ValueError, DependenciesError) as error:
            log.warning("%s is damaged and removed; a power failure may cause that: %s", path, error)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def put(self, expression: str, pin: str, evaluated: Evaluated) -> None:
        """Keep the result of an expression, and remove the least recently used ones beyond 1000.

        An error, such as a full disk, is only logged.
        """
        path = self._path(expression, pin)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(prefix=f".{path.name}-", dir=self._folder) as file:
                file.write(_encode(evaluated))
                file.flush()
                with suppress(FileExistsError):  # another process of this host kept the same result
                    os.link(file.name, path)
            self._sweep()
        except OSError as error:
            log.warning("the result of an expression cannot be kept in %s: %s", self._folder, error)

    def _path(self, expression: str, pin: str) -> Path:
        parts = (str(EVALUATOR), pin, expression)
        # Surrogates are replaced as in the file that is evaluated. A pin has no NUL.
        key = "\0".join(parts).encode(errors="replace")
        return self._folder / hashlib.sha256(key).hexdigest()

    def _sweep(self) -> None:
        """Remove the least recently used files, half-written ones of killed processes included."""
        entries = list(os.scandir(self._folder))
        if len(entries) <= KEPT:
            return
        used: list[tuple[float, str]] = []
        for entry in entries:
            with suppress(FileNotFoundError):  # another process removed it
                used.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
        for _, path in sorted(used)[: -round(KEPT * SWEPT)]:
            Path(path).unlink(missing_ok=True)


def _encode(evaluated: Evaluated) -> bytes:
    content = evaluated.model_dump_json().encode()
    return _DIGEST(content).digest() + content


def _decode(content: bytes) -> Evaluated:
    """Return the result that `_encode` wrote.

    Raises:
        ValueError: the bytes are incomplete or damaged.
        DependenciesError: the result is not valid, since another version of this program wrote it.
    """
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if _DIGEST(rest).digest() != digest:
        raise ValueError("its checksum is wrong")
    return validate(rest)
