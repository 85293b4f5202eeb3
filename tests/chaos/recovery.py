"""How long it took until what a killed process had to do was done. Pure.

worker                     each submission that it held: from the kill to its end
cache-builder              each set of dependencies that it was building: from the kill to its end
health-checker             from the kill until every partition of leases is ticked again
ingest, request-handler    from the kill until the first of their plain submissions made after it is finished
store processors, broker   the same, of all plain submissions

Other faults go on meanwhile, and several may hit the same submission: its time then counts for each of them.
Instances that only stood by count as well. A poison is never over, and counts for nobody.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from tests.chaos.faults import Fault
from tests.chaos.log import Event, Log
from topics.dependencies import facts as dependencies
from topics.submissions import facts as submissions

_SOURCES = {"ingest": ("http",), "request-handler": ("kafka",)}


def recoveries(
    log: Log, faults: Sequence[Fault], plain: Collection[str], host: str
) -> dict[str, list[float]]:
    """Seconds, by role, for each kill. `plain` are the ids that count, `host` is the machine's name."""
    found: dict[str, list[float]] = {}
    for fault in faults:
        if fault.kind in {"kill", "poison"}:
            found.setdefault(fault.role, []).extend(_of(log, fault, plain, host))
    return {role: sorted(times) for role, times in found.items() if times}


def _of(log: Log, fault: Fault, plain: Collection[str], host: str) -> Iterator[float]:
    instance = fault.target.rsplit("-", 1)[1]
    if fault.role == "worker":
        yield from _held(log.submissions, fault.at_s, f"{host}-{instance}-", plain)
    elif fault.role == "cache-builder":
        yield from _held(log.dependencies, fault.at_s, f"{host}-{instance}-", None)
    elif fault.role == "health-checker":
        partitions = [times for family in log.ticks.values() for times in family]
        firsts = [next((at_s for at_s in times if at_s > fault.at_s), None) for times in partitions]
        yield max(first - fault.at_s for first in firsts if first is not None)
    else:
        yield from _next_made(log.submissions, fault, plain)


def _held(
    events: Sequence[Event], at_s: float, worker_prefix: str, counted: Collection[str] | None
) -> Iterator[float]:
    """What the latest process of that name held at the time: until its end."""
    held: dict[str, str] = {}
    process = ""
    for event in events:
        if event.at_s > at_s:
            break
        match event.fact:
            case submissions.Started(worker=name) | dependencies.Started(builder=name):
                held[event.id] = name
                process = name if name.startswith(worker_prefix) else process
            case (
                submissions.Finished()
                | submissions.Cancelled()
                | dependencies.Installed()
                | dependencies.Failed()
            ):
                held.pop(event.id, None)
    ends = _ends(events, at_s)
    for id, name in held.items():
        if name == process and id in ends and (counted is None or id in counted):
            yield ends[id] - at_s


def _ends(events: Sequence[Event], after_s: float) -> Mapping[str, float]:
    """The first end of each after that time."""
    ends: dict[str, float] = {}
    for event in events:
        match event.fact:
            case submissions.Finished() | dependencies.Installed() | dependencies.Failed() if (
                event.at_s > after_s
            ):
                ends.setdefault(event.id, event.at_s)
    return ends


def _next_made(events: Sequence[Event], fault: Fault, plain: Collection[str]) -> Iterator[float]:
    sources = _SOURCES.get(fault.role, ("http", "kafka"))
    made = {
        event.id
        for event in events
        if isinstance(event.fact, submissions.Requested)
        and event.at_s > fault.at_s
        and event.fact.source in sources
        and event.id in plain
    }
    ends = _ends(events, fault.at_s)
    if finished := [ends[id] for id in made if id in ends]:
        yield min(finished) - fault.at_s
