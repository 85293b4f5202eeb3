"""What people read of an audit."""

from infra.commands.audit import describe, line, report
from tests.unit.audit.messages import SUBMISSIONS, event, request, rubbish
from topics.audit.history import history
from topics.audit.replay import Difference
from topics.audit.sealed import Sealing
from topics.audit.verify import Findings
from topics.submissions.facts import LeaseExpired


def test_one_line_an_event() -> None:
    events = [
        event("one", request(), 0),
        event("one", LeaseExpired(attempt=2, checker="checker/7"), 1),
        rubbish("one", 2),
    ]
    refused = "refused: of attempt 2, now at 1"
    lines = [" ".join(line(told).split()) for told in history(SUBMISSIONS, events)]
    assert lines == [
        "1970-01-01T00:00:00.001Z submission.requested test accepted",
        f"1970-01-01T00:00:00.001Z submission.lease_expired attempt 2 test checker/7 {refused}",
        "1970-01-01T00:00:00.001Z unknown somebody refused: unreadable: unknown ce_type 'unknown'",
    ]


def test_first_difference_is_shown() -> None:
    assert describe(Difference("one", b'{"a":1}', b'{"a":2}')) == [
        "one differs from byte 5 on",
        'log:   …{"a":1}…',
        'store: …{"a":2}…',
    ]
    assert describe(Difference("one", b"ab", b"a"))[0] == "one differs from byte 1 on"
    assert describe(Difference("one", None, b"")) == ["one is in the store only"]
    assert describe(Difference("one", b"", None)) == ["one is missing in the store"]


def test_report_names_what_is_stuck() -> None:
    findings = Findings(
        events=3,
        refused=1,
        unreadable=0,
        waiting=0,
        stored=1,
        rows_before_log_start=3,
        unfinished=1,
        differences=[],
        unowned_attempts=[("one", 2)],
        owed=2,
        unrequested=["nobody"],
        sealing=Sealing(flaws=["it is not as it was sealed"], sealed=["it is sealed"], expired=1, unsealed=2),
    )
    assert not findings.clean
    counts = (
        "3 events folded, 1 of them refused, 1 stored, 1 unfinished, 0 with events to be folded, "
        "0 unreadable events"
    )
    assert report("submissions", findings) == [
        f"submissions: {counts}",
        "submissions: 3 stored records are older than the log, and were not compared",
        "submissions: 2 attempts wait for their turn, or are on their way to a worker",
        "submissions: it is not as it was sealed",
        "submissions: it is sealed",
        "submissions: of 1 sealed ranges events are gone by retention",
        "submissions: 2 events are not sealed yet",
        "submissions: nobody is on the queue, but was not requested",
        "submissions: one attempt 2 is stuck: neither finished, queued nor leased",
    ]
