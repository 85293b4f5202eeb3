"""Looking at this machine's processes."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def running(command: "re.Pattern[bytes]") -> list[int]:
    """Process ids of what was started with exactly this command; each argument ends with a NUL."""
    found = []
    for process in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):
            if command.fullmatch((process / "cmdline").read_bytes()):
                found.append(int(process.name))
    return found


def ancestors(pid: int) -> Iterator[int]:
    """From the parent up."""
    with suppress(OSError):
        while pid > 1:
            # pid (name, in which anything may stand) state ppid …
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            yield pid
