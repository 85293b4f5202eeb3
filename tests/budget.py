"""Compare the seconds that suites took with those that `budget.toml` allows them.

`python -m tests.budget FILE`: each line of the file is the name of a suite and how many seconds it took.
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

FILE = Path(__file__).with_name("budget.toml")


def read() -> dict[str, dict[str, int]]:
    """Return the seconds of each suite, by name, of those in sequence and of those beside them."""
    return tomllib.loads(FILE.read_text())


def report(allowed_s: Mapping[str, int], took_s: Mapping[str, int]) -> Iterator[str]:
    """Return a line for each suite, and last of all the suites that took longer than they may."""
    over = [name for name, seconds in took_s.items() if seconds > allowed_s[name]]
    yield f"{'suite':16}{'took s':>8}{'budget s':>10}"
    for name, seconds in allowed_s.items():
        took = took_s.get(name, "not run")
        yield f"{name:16}{took:>8}{seconds:>10}{'  OVER' if name in over else ''}"
    yield f"over budget: {', '.join(over)}" if over else "each suite that ran is within its budget"


def main(path: Path) -> None:
    """Print the report of a run."""
    lines = (line.split() for line in path.read_text().splitlines())
    allowed_s = {name: seconds for suites in read().values() for name, seconds in suites.items()}
    sys.stdout.writelines(f"{line}\n" for line in report(allowed_s, {name: int(s) for name, s in lines}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
