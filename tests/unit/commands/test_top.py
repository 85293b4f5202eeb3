"""What people see of the system, and of lists, on a terminal of 80 columns."""

import io
from datetime import datetime, timedelta

from rich.console import Console, RenderableType

from envicutor_client.cli.submissions import table
from envicutor_client.models import Builds, LastMinute, Listed, Percentiles, System
from infra.commands.top import picture

CREATED = "2026-11-25T10:00:00.000Z"
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
QUIET = LastMinute(finished=0, finished_per_s=0, outcomes={}, queue_wait_s=None, answer_s=None)
SYSTEM = System(
    time=CREATED,
    unfinished={"queued": 3, "started": 1, "dependencies_installed": 0, "compiled": 1},
    waiting=3,
    running=2,
    running_by_worker={"host-0-\x1b[2J": 2},
    waiting_for_environment=1,
    oldest_waiting_s=2.5,
    workers=1,
    leases=3,
    builds=Builds(waiting=4, running=1),
    last_minute=LastMinute(
        finished=120,
        finished_per_s=2,
        outcomes={"ok": 118, "cancelled": 2},
        queue_wait_s=Percentiles(p50=0.004, p99=0.21),
        answer_s=Percentiles(p50=0.06, p99=1.8),
    ),
)


def shown(what: RenderableType) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(what)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_the_system_in_80_columns() -> None:
    lines = shown(picture(SYSTEM))
    for line in (
        "waiting 3 for a worker, the oldest for 2.5 s",
        "for environments 1 wait until these are built",
        "running 2 1 started, 1 compiled",
        "builds 1 4 waiting",
        "finished 2.0/s 120 in the last minute",
        "waited in the queue 4 ms 210 ms",
        "request to answer 60 ms 1.8 s",
        "ok 118 " + 30 * "▇",
        r"host-0-\x1b[2J 2 " + 30 * "▇",
    ):
        assert line in lines


def test_a_quiet_system() -> None:
    lines = shown(picture(SYSTEM.model_copy(update={"last_minute": QUIET, "running_by_worker": {}})))
    assert "request to answer - -" in lines
    assert "outcomes" not in lines


def test_a_list_in_80_columns() -> None:
    new = Listed(id=ID, status="started", attempt=2, created_at=CREATED, finished_at=None, outcome=None)
    tags = ("course=42", "exercise=7")
    building = new.model_copy(update={"status": "dependencies_installed", "attempt": 1, "tags": tags})
    long = new.model_copy(update={"id": "x" * 64, "status": "finished", "outcome": "ok", "attempt": 1})
    now = datetime.fromisoformat(CREATED) + timedelta(seconds=90)
    assert shown(table([new, building], now)) == [
        "id age what tags",
        f"{ID} 1 min started (2)",
        f"{ID} 1 min dependencies_installed course=42",
        "exercise=7",
    ]
    assert sum(line.count("x") for line in shown(table([long, new], now))) == 64
    assert shown(table([], now)) == ["id age what tags"]
