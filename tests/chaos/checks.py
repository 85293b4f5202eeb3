"""What must be true in the end. Each check gives sentences about what is wrong; pure but for `leftovers`."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.chaos.faults import Fault
from tests.chaos.load import Accepted
from tests.chaos.log import Log
from tests.chaos.submissions import POISON_ATTEMPTS, Planned
from topics.submissions.facts import LeaseExpired, Started
from topics.submissions.state import Submission


def wrong(log: Log, accepted: Accepted, faults: Sequence[Fault], host: str) -> list[str]:
    """Everything that is not as promised."""
    return [
        *_answers(log, accepted),
        *_doubles(log, accepted),
        *_declared_dead_alive(log, faults, host),
        *([f"{log.dead_letters} dead letters, though nothing was unreadable"] if log.dead_letters else []),
    ]


def unfinished(store: dict[str, Submission], accepted: Accepted) -> list[str]:
    """Ids that were accepted and are not over."""
    return [id for id in accepted.ids if id not in store or not store[id].final]


def _answers(log: Log, accepted: Accepted) -> Iterator[str]:
    for id, planned in accepted.ids.items():
        state = log.store.get(id)
        if state is None or not state.final:
            yield f"{id} ({planned.kind}) was accepted and is {state.status if state else 'unknown'}"
        elif complaint := _complaint(state, planned, accepted.cancels.get(id)):
            yield f"{id} ({planned.kind}): {complaint}: {state.model_dump_json(exclude={'request'})[:1500]}"


def _complaint(state: Submission, planned: Planned, told: str | None) -> str | None:
    right = state.outcome == "ok" and [run.stdout for run in state.run] == [planned.stdout]
    match planned.kind:
        case "plain" | "dependencies":
            return None if right else "wrong answer"
        case "cancelled" if told == "cancelled":
            return None if state.status == "cancelled" else "DELETE said that it was cancelled"
        case "cancelled" if told == "too late":
            return None if right else "DELETE said that it was finished"
        case "cancelled":
            return None if right or state.status == "cancelled" else "neither cancelled nor right"
        case "poison":
            reasons = [ended.reason for ended in state.ended_attempts]
            bounded = (state.outcome, state.charged_attempts) == ("internal_error", POISON_ATTEMPTS)
            return None if bounded and all(r in (state.error or "") for r in reasons) else "not given up"


def _doubles(log: Log, accepted: Accepted) -> Iterator[str]:
    """A client that tried again made no second submission, unless it never learnt the first one's id."""
    programs = Counter(state.request.run for state in log.store.values() if state.request)
    for id, planned in accepted.ids.items():
        if programs[planned.run] > 1 and planned.way != "http without id":
            yield f"{id} is there {programs[planned.run]} times"


def _declared_dead_alive(log: Log, faults: Sequence[Fault], host: str) -> Iterator[str]:
    """A lease expires only if a worker that had it was killed or paused.

    A record may be redelivered to another just then, which has said so and not got its lease yet.
    """
    started: dict[tuple[str, int], list[str]] = {}
    for event in log.submissions:
        match event.fact:
            case Started(attempt=attempt, worker=worker):
                started.setdefault((event.id, attempt), []).append(worker)
            case LeaseExpired(attempt=attempt):
                workers = started.get((event.id, attempt), [])
                if not any(_harmed(worker, faults, event.at_s, host) for worker in workers):
                    yield f"{event.id} attempt {attempt}: {workers} were alive and declared dead"


def _harmed(worker: str, faults: Sequence[Fault], before_s: float, host: str) -> bool:
    target = f"worker-{worker.removeprefix(f'{host}-').split('-')[0]}"
    return any(f.target == target and f.kind != "end" and f.at_s < before_s for f in faults)


def leftovers(folder: Path, uids: range) -> Iterator[str]:
    """What is there of a system that was stopped: processes, mounts, control groups, files of boxes."""
    for process in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):
            ours = str(folder).encode() in (process / "environ").read_bytes()
            if (ours or process.stat().st_uid in uids) and int(process.name) != os.getpid():
                yield f"process {process.name}: {(process / 'cmdline').read_bytes()[:200]!r}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if str(folder) in line:
            yield f"mount {line}"
    for note in folder.glob("sandboxes/*/groups"):
        yield from (f"control group {path}" for path in note.read_text().splitlines() if Path(path).exists())
    for path in folder.glob("sandboxes/*/*"):
        if path.name != "lock":
            yield f"file {path}"
