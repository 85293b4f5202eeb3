"""Commands and queries of submissions, apart from HTTP: accept, cancel, get, list, wait."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable

from confluent_kafka import KafkaException, Message

from ingest import listing
from ingest.access import Caller
from ingest.following import Following
from ingest.ids import derive_id, derive_legacy_id
from ingest.load import Load
from ingest.models import SubmissionPage
from ingest.problems import ProblemError, invalid
from ingest.settings import IngestSettings
from ingest.stats import RecentStats
from topics.catalogue import Catalogue
from topics.fold import Recorded
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Headers, encode_fact
from topics.request.errors import FieldError, InvalidRequestError
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS, Cancelled, Requested, SubmissionFact
from topics.submissions.fold import apply
from topics.submissions.state import Submission, unfinished, unfinished_from
from topics.views.journal import Journal
from topics.views.package_sets import PackageSets
from topics.views.view import View

log = logging.getLogger(__name__)


class Submissions:
    """Submissions of this system: appends their events to the log, and reads log and store."""

    def __init__(
        self, kafka: KafkaSettings, catalogue: Catalogue, settings: IngestSettings, instance: str
    ) -> None:
        self._kafka, self._settings = kafka, settings
        self._events = catalogue.submissions.events.name
        self._source = f"ingest/{instance}"
        views = kafka.data_dir / "views"
        timeout_ms = round(settings.acknowledge_timeout_s * 1000)
        self._producer = EventProducer(kafka, message_timeout_ms=timeout_ms)
        self.view = View(
            kafka,
            catalogue.submissions.store.name,
            views / f"ingest-{instance}",
            status_of=unfinished_from("http"),
            index=listing.index(),
            on_applied=self._on_rows,
        )
        self.recent = RecentStats(self.view.summary)
        self.package_sets = PackageSets(kafka, catalogue, views / f"ingest-{instance}-package-sets")
        self._following = Following(self.view)
        self._load = Load(self.view, self._following)
        self.history = Journal(
            kafka, self._events, views / f"ingest-{instance}-history", on_applied=self._on_events
        )

    async def start(self) -> None:
        """Start to consume store, package sets and log."""
        await self.view.start()
        await self.package_sets.start()
        self._following.start()
        await self.history.start()

    async def close(self) -> None:
        """Stop all consumers, and flush the producer."""
        await asyncio.gather(self.history.close(), self.view.close(), self.package_sets.close())
        self._producer.close()

    def _on_events(self, messages: list[Message]) -> None:
        self._following.take(messages)
        self.recent.count_events(messages)

    def _on_rows(self, messages: list[Message]) -> None:
        self._following.rows(messages)
        self.recent.count_rows(messages)

    async def accept(
        self,
        raw: bytes,
        caller: Caller,
        *,
        wait_for_end: bool,
        idempotency_key: str | None = None,
        extra_headers: Headers | None = None,
    ) -> Submission:
        """Append a request to the log; return the new submission, or an earlier one of the same content.

        Args:
            raw: the request, JSON.
            caller: the owner of the submission, whose quota applies.
            wait_for_end: the caller will wait for the end with `wait_final`.
            idempotency_key: the key from which the id is derived if the request has none.
            extra_headers: headers that are added to the event.

        Raises:
            ProblemError: 400, 413, 422 for a bad request, 409 for a conflict, 429 beyond the caller's quota,
                503 if the system cannot accept requests now.
        """
        try:
            request, content_hash = parse_request(raw, self._kafka.request_bytes, self._kafka.webhook_allow)
        except InvalidRequestError as error:
            raise invalid(error) from None
        package_set = self.package_sets.in_force
        if package_set is None:
            raise self._unavailable("no package set is in force yet", None)
        self._check_load(caller)
        fact = make_requested(
            request,
            content_hash,
            package_set.pin,
            source="http",
            owner=caller.owner,
            allowed_attempts=self._kafka.allowed_attempts,
        )
        until = _is_final if wait_for_end else _is_there
        if request.id is not None:
            return await self._append_given_id(request.id, fact, extra_headers, until, f"id {request.id!r}")
        if idempotency_key is not None:
            id = self._id_of(idempotency_key, caller.owner)
            return await self._append_given_id(
                id, fact, extra_headers, until, f"Idempotency-Key {idempotency_key!r}"
            )
        return await self._append_new_id(str(uuid.uuid4()), fact, extra_headers, until)

    def _id_of(self, idempotency_key: str, owner: str | None) -> str:
        """Return the id for this key of an owner: one derived by an earlier version, if it is in use."""
        before = derive_legacy_id(idempotency_key, owner)
        found = self.find(before)
        return before if found and found.owner == owner else derive_id(idempotency_key, owner)

    async def _append_new_id(
        self, id: str, fact: Requested, extra_headers: Headers | None, until: Callable[[bytes | None], bool]
    ) -> Submission:
        """Append a request with a new id; its state follows from the event alone, without the store."""
        self._following.follow(id, until, fact.owner)
        message = await self._append_followed(id, fact, extra_headers)
        first = apply(None, Recorded(id, fact, message.timestamp()[1])).state
        assert first is not None
        self._following.at_least(id, first)
        return first

    async def _append_given_id(
        self,
        id: str,
        fact: Requested,
        extra_headers: Headers | None,
        until: Callable[[bytes | None], bool],
        named: str,
    ) -> Submission:
        """Append a request with an id that a client chose, and let the fold decide which request was first.

        `named` describes the id in errors.

        Raises:
            ProblemError: 409 if another owner or other content was first, 503 if the result is unknown.
        """
        if self._following.follow_if_new(id, self.history, until, fact.owner):
            message = await self._append_followed(id, fact, extra_headers)
            await self._wait_folded(id, message)
            first = self._following.get(id)
            if first is not None:
                return _require_same(first, fact, named)
            return await self._resolve_id(id, fact, named)
        with self._load.resolving_id(fact.owner):
            await self._append(id, fact, extra_headers)
            return await self._resolve_id(id, fact, named)

    async def _append_followed(self, id: str, fact: Requested, extra_headers: Headers | None) -> Message:
        try:
            return await self._append(id, fact, extra_headers)
        except ProblemError:
            self._following.forget(id)
            raise

    async def _wait_folded(self, id: str, message: Message) -> None:
        """Wait until `_following` has folded this event, if it follows the submission."""
        try:
            async with asyncio.timeout(self._settings.acknowledge_timeout_s):
                await self._following.wait_read_to(id, (message.offset() or 0) + 1)
        except TimeoutError:
            raise self._unavailable("this node did not consume the log in time", id) from None
        except asyncio.CancelledError:
            raise self._unavailable("the server is shutting down", id) from None

    def _check_load(self, caller: Caller) -> None:
        """Refuse a request if too many submissions are unfinished, including those not stored yet.

        Raises:
            ProblemError: 429 beyond the caller's quota, 503 beyond `max_unfinished`.
        """
        quota, bound = caller.unfinished, self._kafka.max_unfinished
        if quota is not None and self._load.reaches_of(caller.owner, quota):
            detail = f"{quota} submissions of this API key are unfinished, which is its quota: wait for one"
            headers = {"Retry-After": str(self._settings.retry_after_s)}
            raise ProblemError(429, "too-many-unfinished", detail, headers=headers)
        if self._load.reaches(bound):
            raise self._unavailable(f"{bound} submissions are unfinished, which is the limit", None)

    def find(self, id: str) -> Submission | None:
        """Return the submission as of the events and rows that this node has consumed, or None."""
        followed, raw = self._following.get(id), self.view.get(id)
        if raw is None or (followed is not None and followed.final):
            return followed
        stored = Submission.read(raw)
        return stored if followed is None or (stored.final and stored.status != "rejected") else followed

    async def get(self, id: str, caller: Caller) -> Submission:
        """Return the submission; it is found if any node has acknowledged its request before this call.

        Raises:
            ProblemError: 404 if there is none or the caller may not read it, 503 if this node is behind.
        """
        return await self._get(id, caller.may_read)

    async def _get(self, id: str, may_know: Callable[[Submission], bool]) -> Submission:
        submission = self.find(id) or await self._look_up(id)
        if submission is None or not may_know(submission):
            raise ProblemError(404, "unknown-submission", f"there is no submission {id!r}")
        return submission

    async def _look_up(self, id: str) -> Submission | None:
        """Consume the log up to now; return the submission that its events fold to, or None."""
        try:
            await self.history.reach(self._settings.acknowledge_timeout_s)
        except TimeoutError:
            raise self._unavailable("this node has not consumed the log to its end yet", None) from None
        self._following.catch_up(id, self.history, _is_there)
        return self.find(id)

    async def list(self, query: listing.Query, caller: Caller) -> SubmissionPage:
        """Return a page of the submissions that the caller may read, as of the view of this node.

        Raises:
            ProblemError: 422 for an invalid cursor.
        """
        try:
            whose = None if caller.reads_all else caller.owner
            return await asyncio.to_thread(listing.page, self.view, query, whose)
        except listing.BadCursorError as error:
            errors = [FieldError(field="query.cursor", message=str(error))]
            raise ProblemError(422, "invalid-parameters", f"query.cursor: {error}", errors=errors) from None

    async def wait_final(self, id: str, timeout_s: float) -> Submission:
        """Return the submission when it is final, or its state after `timeout_s`."""
        # A server that shuts down cancels waiting requests. Answer with the present state, so that the
        # client learns that its request was accepted.
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(timeout_s):
                found = await self._following.wait_final(id) or await self._get(id, _regardless_of_owner)
                if found.final:
                    return found
                await self.view.wait_for(id, _is_final, None)
        return await self._get(id, _regardless_of_owner)

    async def cancel(self, id: str, caller: Caller) -> Submission:
        """Append `Cancelled`, and return the submission after it; the fold decides whether it was in time.

        Raises:
            ProblemError: 404 if the caller may not cancel it, 409 if it had ended before, 503.
        """
        before = await self._get(id, caller.may_cancel)
        if not before.final:
            own = before.owner == caller.owner
            fact = Cancelled() if own else Cancelled(reason=f"cancelled by {caller.owner}")
            await self._wait_folded(id, await self._append(id, fact))
            found = self.find(id)
            if found is None or not found.final:
                await self._wait_for(id, _is_final)
        after = await self._get(id, caller.may_cancel)
        if after.status != "cancelled":
            raise ProblemError(409, "too-late", f"submission {id!r} is already {after.status}")
        return after

    async def _resolve_id(self, id: str, fact: Requested, named: str) -> Submission:
        """Wait until the view has the request that was first with this id, and compare it with `fact`."""
        return _require_same(Submission.read(await self._wait_for(id, _is_accepted)), fact, named)

    async def _append(self, id: str, fact: SubmissionFact, extra_headers: Headers | None = None) -> Message:
        """Append an event; return its delivery report, which has offset and append time.

        Raises:
            ProblemError: 503 if the broker did not acknowledge it in time.
        """
        record = encode_fact(self._events, id, fact, FACTS, self._source, extra_headers)
        try:
            return await self._producer.send(record)
        except KafkaException as error:
            log.warning("submission %s was not acknowledged: %s", id, error)
            raise self._unavailable("the broker did not acknowledge in time", id) from None
        except asyncio.CancelledError:  # a server that shuts down cancels waiting requests
            raise self._unavailable("the server is shutting down", id) from None

    async def _wait_for(self, id: str, accept: Callable[[bytes | None], bool]) -> bytes:
        try:
            raw = await self.view.wait_for(id, accept, self._settings.acknowledge_timeout_s)
        except TimeoutError:
            raise self._unavailable("the store did not show the result in time", id) from None
        except asyncio.CancelledError:
            raise self._unavailable("the server is shutting down", id) from None
        assert raw is not None
        return raw

    def _unavailable(self, why: str, id: str | None) -> ProblemError:
        what = f"; whether submission {id!r} was accepted is unknown: the same request with this id is safe"
        headers = {"Retry-After": str(self._settings.retry_after_s)}
        return ProblemError(503, "unavailable", why + (what if id else ""), headers=headers)


def _require_same(first: Submission, fact: Requested, named: str) -> Submission:
    """Return `first` if it is the submission of this request; disclose nothing of another owner's.

    Raises:
        ProblemError: 409 if it is not.
    """
    if first.owner != fact.owner:
        raise ProblemError(409, "conflict", f"the {named} is taken: choose another one")
    if first.content_hash != fact.content_hash:
        detail = f"the {named} was used before with other content: choose another one"
        raise ProblemError(409, "conflict", detail)
    return first


def _regardless_of_owner(_: Submission) -> bool:
    return True


def _is_there(raw: bytes | None) -> bool:
    return raw is not None


def _is_final(raw: bytes | None) -> bool:
    return raw is not None and not unfinished(raw)


def _is_accepted(raw: bytes | None) -> bool:
    # A rejected submission was never accepted: the fold lets a corrected request use its id.
    return raw is not None and Submission.read(raw).status != "rejected"
