"""Records that cannot be read go to the dead letters, and stop nothing."""

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record
from topics.kafka.scan import read_to_end

pytestmark = pytest.mark.xdist_group("disturbed cluster")


def test_on_every_topic_that_somebody_works_on(cluster: Cluster) -> None:
    topics = cluster.topics
    names = [
        *(topics.submissions.events.name, topics.submissions.queue.name, topics.submissions.leases.name),
        *(topics.dependencies.queue.name, topics.dependencies.leases.name),
    ]
    producer = EventProducer(cluster.kafka)
    for name in (*names, topics.stops.name):  # an unreadable stop order is only told in the log
        for value in (b"{", b"\xff", None):
            producer.produce(Record(name, b"unreadable", value, [("ce_type", b"\xff")])).result(ANSWER_S)
    producer.close()

    def buried() -> list[str]:
        letters = read_to_end(cluster.kafka, topics.dead_letters.name)
        mine = [dict(letter.headers() or ()) for letter in letters if letter.key() == b"unreadable"]
        return [_text(headers["dead_letter_from"]).split("/")[0] for headers in mine]

    expected = sorted(3 * names)
    eventually(lambda: sorted(buried()) == expected, "all are buried", ANSWER_S)
    answer = cluster.answer({"run": "sed --version", "dependencies": {"packages": ["sed"]}})
    assert answer["outcome"] == "ok", answer
    assert cluster.verify().returncode == 0


def _text(raw: str | bytes | None) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
