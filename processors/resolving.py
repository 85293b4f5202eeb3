"""Pins for the packages of PyPI that requests from Kafka name without a version."""

import asyncio
from collections.abc import Sequence

from nix.errors import CacheError
from nix.registries.latest import LatestVersions
from topics.kafka.codec import DecodeError
from topics.request.errors import FieldError, InvalidRequestError
from topics.submissions.acceptance import as_before, to_resolve, with_pins
from topics.submissions.facts import Requested, SubmissionFact
from topics.submissions.state import Submission
from topics.views.view import View

Handled = tuple[str, SubmissionFact] | InvalidRequestError | DecodeError
"""Meaning of a record: an id and a fact about it, or what is wrong with it."""


async def resolve_all(handled: Sequence[Handled], latest: LatestVersions, store: View) -> list[Handled]:
    """Return the facts with pins, or why there are none; all are resolved at the same time.

    An index that does not answer delays the requests by `nix.registries.latest.ANSWER_S` at most, and then
    they are rejected: it must not hold back the requests behind them. A request that was accepted before, and
    is consumed again, has the pins that it had then.
    """
    return await asyncio.gather(*(_resolve(one, latest, store) for one in handled))


def needs_resolving(handled: Handled) -> bool:
    """Return whether a package has no version yet."""
    return isinstance(handled, tuple) and isinstance(handled[1], Requested) and bool(to_resolve(handled[1]))


async def _resolve(handled: Handled, latest: LatestVersions, store: View) -> Handled:
    if not isinstance(handled, tuple) or not isinstance(fact := handled[1], Requested):
        return handled
    if not (wanted := to_resolve(fact)):
        return handled
    id = handled[0]
    stored = store.get(id)
    if known := as_before(fact, Submission.read(stored) if stored else None):
        return id, known
    try:
        return id, with_pins(fact, await latest.pins(wanted, fact.package_set))
    except InvalidRequestError as error:
        return error
    except CacheError as error:
        message = f"{error}: send the request again later, or give versions"
        return InvalidRequestError((FieldError(field="dependencies.pypi", message=message),))
