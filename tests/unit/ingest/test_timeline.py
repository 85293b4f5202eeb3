"""Facts as event streams show them."""

from ingest.timeline import Timeline
from tests.support.submissions import finished, request
from topics.kafka.codec import encode
from topics.submissions.facts import FACTS, SubmissionFact
from topics.views.journal import JournalEntry


def entry(offset: int, fact: SubmissionFact) -> JournalEntry:
    return JournalEntry(
        offset, 1000 + offset, {model: name for name, model in FACTS.items()}[type(fact)], encode(fact)
    )


def test_facts_have_neither_contents_nor_the_hash_by_which_hidden_ones_could_be_tried_out() -> None:
    timeline = Timeline("a")
    name, payload = timeline.take(entry(0, request(source="http")))
    assert (name, payload.status, payload.fact["source"]) == ("requested", "queued", "http")
    assert not {"request", "content_hash"} & set(payload.fact)
    name, payload = timeline.take(entry(1, finished()))
    assert (name, payload.status, payload.fact["outcome"]) == ("finished", "finished", "ok")
    assert not {"compile", "run"} & set(payload.fact)
