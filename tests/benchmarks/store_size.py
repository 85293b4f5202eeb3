"""What stored submissions cost ingest: memory, how soon one is found, how soon it is back after a restart."""

import shutil
import time
from collections.abc import Iterator, Sequence

from rich.console import Console

from tests.benchmarks import kafka_load as load
from tests.benchmarks.kafka import Log, a_log, reads
from tests.benchmarks.measuring import milliseconds, print_table, write_results
from topics.fold import Recorded
from topics.kafka.codec import Record, cloud_event, encode
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import Finished, Requested
from topics.submissions.fold import apply
from topics.submissions.stage import DependenciesStage, RunStage
from topics.submissions.state import Submission
from topics.times import rfc3339

SIZES = (1_000, 10_000, 100_000)
AIM_BYTES_EACH = 200
"""Of ingest's memory, for each stored submission."""
AIM_GET_P99_S = 0.005
APART_MS = 100
"""Between two submissions, the last of which is of now."""


def measure(most: int) -> None:
    """Measure, print, write; up to `most` stored submissions."""
    console = Console()
    sizes = [*(size for size in SIZES if size < most), most]
    now_ms = round(time.time() * 1000)
    found = []
    with a_log() as log:
        stored = 0
        for size in sizes:
            load.produce(log.settings, rows(log, range(stored, size), now_ms - size * APART_MS))
            stored = size
            if log.views.exists():
                shutil.rmtree(log.views)
            log.views.mkdir()
            found.append({"submissions": size, "new": reads(log, size), "again": reads(log, size)})
    _print(console, found)
    console.print(f"kept in {write_results('store-size', {'sizes': found})}")


def rows(log: Log, numbers: range, from_ms: int) -> Iterator[Record]:
    """Of submissions that were finished."""
    answered = _answered()
    ids = load.ids(numbers.stop)
    for number in numbers:
        time_ms = from_ms + number * APART_MS
        row = answered.replace(id=ids[number], created_at=rfc3339(time_ms), finished_at=rfc3339(time_ms + 50))
        event = f"{log.topics.submissions.events.name}/0/{number}"
        headers = cloud_event("envicutor.submission.stored.v1", event, row.id, "bench")
        yield Record(log.topics.submissions.store.name, row.id.encode(), encode(row), headers)


def _answered() -> Submission:
    raw = b'{"files": [{"name": "main.py", "content": "print(input())"}], "run": ["python3", "main.py"]}'
    request: Requested = make_requested(*parse_request(raw, MiB), "bench", source="http")
    installed = DependenciesStage(id="bench", cached=True, store_path="/nix/store/bench")
    run = RunStage(stdout="3\n", exit_code=0, wall_time_s=0.02, memory_bytes=9_000_000, passed=True)
    finished = Finished(
        attempt=1, worker="bench-0", outcome="ok", dependencies=installed, compile=None, run=(run,)
    )
    state: Submission | None = None
    for fact in (request, finished):
        state = apply(state, Recorded("bench", fact, 0)).state
    assert state is not None
    return state


def _print(console: Console, found: Sequence[dict[str, object]]) -> None:
    for which, title in (("new", "with a new table"), ("again", "after a restart")):
        table, before = [], None
        for of in found:
            size, ingest = of["submissions"], of[which]
            assert isinstance(size, int)
            assert isinstance(ingest, dict)
            resident = ingest["resident_bytes"]
            each = "" if before is None else f"{(resident - before[1]) / (size - before[0]):.0f}"
            times = [milliseconds(ingest[name]) for name in ("get_p50_s", "get_p99_s")]
            ready = f"{ingest['ready_s']:.1f} s"
            table.append([f"{size:,}", ready, f"{resident / MiB:.0f} MiB", each, *times])
            before = before or (size, resident)
        columns = ["stored", "ready after", "memory", "bytes each", "GET p50", "GET p99"]
        print_table(console, f"ingest {title}", columns, table)
    console.print(f"aims: {AIM_BYTES_EACH} bytes each, GET p99 {milliseconds(AIM_GET_P99_S)}")
