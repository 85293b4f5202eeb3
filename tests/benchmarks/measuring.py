"""How benchmarks measure, print and keep what they found."""

import asyncio
import json
import math
import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

RESULTS = Path("bench")
"""Below the working directory; git ignores it."""

Samples = dict[str, list[float]]
"""What was measured, by the name of the variant; None of it is sorted or left out."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A few numbers instead of all."""

    n: int
    p50: float
    max: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Summary":
        """Median and largest of at least one sample."""
        return cls(len(samples), statistics.median(samples), max(samples))


def percentile(samples: Sequence[float], part: float) -> float:
    """The smallest sample that at least this part (above 0, at most 1) of them does not exceed."""
    return sorted(samples)[math.ceil(part * len(samples)) - 1]


async def interleaved(
    variants: Mapping[str, Callable[[], Awaitable[float]]], rounds: int, pause_s: float = 0.0
) -> Samples:
    """Measure A B C A B C …, so that whatever the machine does meanwhile meets all of them alike.

    `pause_s` is before each, for what the one before leaves to be done.
    """
    samples: Samples = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            await asyncio.sleep(pause_s)
            samples[name].append(await measure())
    return samples


def print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The first column is text, the others are numbers."""
    console.print(title, style="bold")
    table = Table(box=box.SIMPLE)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def milliseconds(seconds: float) -> str:
    """Such as `12.3 ms`."""
    return f"{seconds * 1000:.1f} ms"


def kept(samples: Samples) -> dict[str, Any]:
    """What is written of samples: all of them, and their summaries."""
    return {name: {**asdict(Summary.of(taken)), "samples": taken} for name, taken in samples.items()}


def write_results(part: str, found: Mapping[str, Any]) -> Path:
    """Keep what was found, with the machine that it was found on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{part}.json"
    path.write_text(json.dumps({"part": part, "machine": _machine(), **found}, indent=2) + "\n")
    return path


def write_plot(name: str, svg: str) -> Path:
    """Keep a picture beside the results."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.svg"
    path.write_text(svg)
    return path


def _machine() -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }
