"""Records of `submissions.events`, as a consumer would read them."""

from confluent_kafka import Message

from topics.aggregate import aggregates
from topics.catalogue import catalogue
from topics.kafka.codec import Headers, encode, fact_headers
from topics.request.model import SubmissionRequest
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS, Requested, SubmissionFact

SUBMISSIONS, DEPENDENCIES = aggregates(catalogue(KafkaSettings()))


def request(run: str = "true") -> Requested:
    return make_requested(SubmissionRequest(run=run), f"hash of {run}", "pin", source="http")


def event(id: str, fact: SubmissionFact, offset: int) -> Message:
    headers = fact_headers(id, fact, FACTS, "test")
    return Message("submissions.events", 0, offset, id.encode(), encode(fact), headers, timestamp=(2, 1))


def rubbish(id: str, offset: int) -> Message:
    headers: Headers = [("ce_type", b"unknown"), ("ce_source", b"somebody")]
    return Message("submissions.events", 0, offset, id.encode(), b"rubbish", headers, timestamp=(2, 1))
