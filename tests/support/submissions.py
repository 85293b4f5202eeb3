"""Requests and facts of submissions as tests write them."""

from typing import Literal

from topics.acceptance import requested
from topics.catalogue import Catalogue
from topics.codec import Record, encode
from topics.limits import MiB
from topics.package_sets import DEBIAN, PackageSetInForce
from topics.request import parse_request
from topics.stage import Outcome, RunStage
from topics.submissions.facts import Finished, Requested, Started

GOOD = b'{"run": "true"}'
"""The value of a request that is accepted."""
STARTED = Started(attempt=1, worker="w")


def request(value: bytes = GOOD, source: Literal["http", "kafka"] = "kafka") -> Requested:
    """Return the fact that a request with this value was accepted."""
    return requested(*parse_request(value, MiB), "pin", source=source)


def finished(*run: RunStage, attempt: int = 1, worker: str = "w", outcome: Outcome = "ok") -> Finished:
    """Return the fact that an attempt ended after these test cases."""
    return Finished(attempt=attempt, worker=worker, outcome=outcome, dependencies=None, compile=None, run=run)


def package_set(topics: Catalogue) -> Record:
    """Return the record that puts a package set in force, without which no request is accepted."""
    in_force = PackageSetInForce(name=DEBIAN, pin="pin", index_digest="d", created_at="now")
    return Record(topics.package_sets.name, DEBIAN, encode(in_force), [])
