"""Facts that records of `submissions.requests` request. Pure."""

import re
from collections.abc import Callable, Collection

from confluent_kafka import Message

from topics.kafka.codec import REPLY_TOPIC, UNREADABLE_HEADERS, DecodeError, decode_key, header, headers
from topics.request.ceilings import DEFAULT_CEILINGS, Ceilings
from topics.request.errors import FieldError, InvalidRequestError
from topics.request.files import ID_PATTERN
from topics.request.package_sets import OfferedPackageSets
from topics.request.parsing import check_chosen_id, parse_request
from topics.submissions.acceptance import make_requested
from topics.submissions.earlier_files import EarlierFiles
from topics.submissions.facts import CANCEL, Cancelled, SubmissionFact
from topics.submissions.state import Submission

_ID = re.compile(ID_PATTERN)


def handle(
    message: Message,
    package_sets: OfferedPackageSets,
    request_bytes: int,
    allowed_attempts: int = 3,
    webhook_allow: Collection[str] = (),
    refusal: Callable[[str], str | None] = lambda _: None,
    find: Callable[[str], Submission | None] = lambda _: None,
    ceilings: Ceilings = DEFAULT_CEILINGS,
) -> tuple[str, SubmissionFact] | InvalidRequestError:
    """Return what a record requests: an id and a fact about it, or what is wrong with the request.

    `package_sets` are those that a request may name. `refusal` returns why a reply topic accepts no answer,
    or None if it accepts them. `find` returns an earlier submission, from which a request may take files.

    Raises:
        DecodeError: the record has no valid id.
    """
    id = decode_key(message)
    if not _ID.fullmatch(id):
        raise DecodeError(f"the key {id[:80]!r} is not an id: 1-64 of A-Za-z0-9_-")
    if unreadable := header(message, UNREADABLE_HEADERS):
        return InvalidRequestError((FieldError(field="", message=f"headers: {unreadable}"),))
    if header(message, "ce_type") == CANCEL:
        return id, Cancelled()
    value = message.value()
    raw = value.encode() if isinstance(value, str) else value or b""
    try:
        reply_topic = reply_topic_of(message, refusal)
        request, content_hash = parse_request(raw, request_bytes, webhook_allow, ceilings)
        package_set = package_sets.pin_of_request(request.package_set)
        check_chosen_id(id)
        if request.id not in {None, id}:
            raise InvalidRequestError((FieldError(field="id", message=f"differs from the key {id!r}"),))
        files = EarlierFiles(find, "kafka", request_bytes)
        request = files.complete(id, request, content_hash, len(raw))
    except InvalidRequestError as error:
        return error
    return id, make_requested(
        request,
        content_hash,
        package_set,
        source="kafka",
        allowed_attempts=allowed_attempts,
        reply_topic=reply_topic,
    )


def reply_topic_of(message: Message, refusal: Callable[[str], str | None]) -> str | None:
    """Return the topic that the record names for its answer, or None if it names none.

    Raises:
        InvalidRequestError: no answer may be produced to that topic.
    """
    if REPLY_TOPIC not in dict(headers(message)):
        return None
    name = header(message, REPLY_TOPIC) or ""
    if why := refusal(name):
        raise InvalidRequestError((FieldError(field=REPLY_TOPIC, message=why),))
    return name
