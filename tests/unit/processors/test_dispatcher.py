"""What a store processor enqueues later than its request, and for whom."""

from confluent_kafka import Message

from processors.store.dispatcher import Dispatcher, DueTurn
from processors.store.partition import Partition
from processors.store.submission_store import submission_store
from tests.support.submissions import STARTED, event, message_of, request
from topics.catalogue import catalogue
from topics.kafka.codec import HOPS, encode
from topics.leases import CapacityReport
from topics.settings import KafkaSettings
from topics.submissions.facts import SubmissionFact

STORE = submission_store(catalogue(KafkaSettings()))
TURN = request(source="http").replace(dispatch="turn")
NOW_S = 100.0


class Log:
    """One partition of the log, folded by a store processor."""

    def __init__(self) -> None:
        self.dispatcher, self.partition = Dispatcher(1), Partition(STORE)
        self.end = 0

    def fold(self, id: str, fact: SubmissionFact) -> None:
        applied = self.partition.fold(event(self.partition.next_offset, fact, id))
        existed = self.partition.next_offset <= self.partition.log_end
        self.dispatcher.folded(0, applied, NOW_S, existed=existed)
        self.end = max(self.end, self.partition.next_offset)

    def report(self, worker: str, free: int, partition: int, now_s: float = NOW_S) -> None:
        value = encode(CapacityReport(worker=worker, partitions=(partition,), free=free))
        self.dispatcher.update([Message("slots", 0, 0, b"w", value, [])], now_s)

    def enqueued(self, now_s: float = NOW_S) -> list[tuple[str, int | None]]:
        """Ids and places of the turns that are due."""
        return [(turn.id, place) for turn, place in self.due(now_s)]

    def due(self, now_s: float = NOW_S) -> list[DueTurn]:
        self.dispatcher.enqueue({0: self.partition}, lambda _: self.end, now_s)
        return self.dispatcher.due_turns(1, now_s)


def started() -> Log:
    log = Log()
    log.dispatcher.restored(0, log.partition, NOW_S)
    return log


def test_events_may_wait_while_ingest_enqueues_all_work_itself() -> None:
    log = started()
    assert not log.dispatcher.may_wait
    log.fold("direct", TURN.replace(dispatch="direct"))
    assert log.dispatcher.may_wait
    log.fold("direct", STARTED)
    assert log.dispatcher.may_wait
    log.fold("turn", TURN)
    assert not log.dispatcher.may_wait
    log.enqueued()
    assert not log.dispatcher.may_wait, "the next request may be one that the store enqueues"
    log.fold("another", TURN.replace(dispatch="direct"))
    assert log.dispatcher.may_wait
    log.fold("waits", TURN)
    log.fold("last", TURN.replace(dispatch="direct"))
    assert not log.dispatcher.may_wait, "a submission waits for a free slot"


def test_free_slots_are_filled_where_they_are() -> None:
    log = started()
    log.report("full", 0, 1)
    log.report("free", 3, 2)
    for number in range(9):
        log.fold(str(number), TURN)
    assert log.enqueued() == [("0", 2), ("1", 2), ("2", 2)]
    assert log.enqueued() == [], "three are on the queue for two workers"


def test_a_worker_that_does_not_live_any_more_stops_nobody() -> None:
    log = started()
    log.report("dead", 4, 1)
    for number in range(40):
        log.fold(str(number), TURN)
    assert len(log.enqueued()) == 4
    for step in range(10):
        now_s = NOW_S + 0.2 * (step + 1)
        log.report("alive", 2, 2, now_s)
        places = [place for _, place in log.enqueued(now_s)]
        assert places == [2, 2], "those of the dead worker count no free slot of the other"


def test_what_was_started_while_no_store_processor_ran_is_not_enqueued_again() -> None:
    before = started()
    before.fold("done", TURN)
    before.fold("waits", TURN)
    rows = before.partition.records()
    log = Log()
    for row in rows:
        log.partition.restore(message_of(row))
    log.partition.next_offset = 2
    log.partition.log_end = log.end = 3
    log.dispatcher.restored(0, log.partition, NOW_S)
    log.report("w", 9, 0)
    assert log.enqueued() == [], "an event is not folded yet"
    log.fold("done", STARTED)
    [(turn, place)] = log.due()
    assert (turn.id, turn.maybe_enqueued, place) == ("waits", True, 0)


def test_what_an_earlier_store_processor_may_have_enqueued_is_no_first_delivery() -> None:
    log = started()
    log.report("w", 9, 0)
    log.partition.log_end = 2
    log.fold("before", TURN)
    assert log.due() == [], "an event is not folded yet, which may show that it was started"
    log.fold("too", TURN)
    log.fold("after", TURN)
    found = {turn.id: turn.maybe_enqueued for turn, _ in log.due()}
    assert found == {"before": True, "too": True, "after": False}
    record = log.partition.owed_record("before", maybe_enqueued=True)
    assert record
    assert dict(record.headers)[HOPS] == b"0"


def test_what_the_queue_did_not_take_waits_again() -> None:
    log = started()
    log.report("w", 1, 0)
    log.end = 0
    log.due()
    log.fold("a", TURN)
    [(turn, _)] = log.due()
    assert not turn.maybe_enqueued
    log.dispatcher.put_back(turn)
    log.report("w", 1, 0, NOW_S + 1)
    [(again, _)] = log.due(NOW_S + 1)
    assert again == turn._replace(maybe_enqueued=True)
