"""Commands and queries of submissions, apart from HTTP: accept, cancel, get, list, wait."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress

from confluent_kafka import KafkaException, Message

from ingest import listing
from ingest.access import Caller
from ingest.direct_dispatch import DirectDispatch, DispatchPlan
from ingest.ids import derive_id, derive_legacy_id
from ingest.models import SubmissionPage
from ingest.problems import ProblemError, invalid
from ingest.projection import Projection
from ingest.settings import IngestSettings
from ingest.stats import RecentStats
from ingest.waiting import WaitingSubmissions
from nix.errors import CacheError
from nix.registries.latest import LatestVersions
from topics.catalogue import Catalogue
from topics.dependencies import build_owner
from topics.dependencies.quota import BuildQuota
from topics.disk import DiskWatch
from topics.fold import Recorded
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Headers
from topics.kafka.fact_publisher import FactPublisher
from topics.kafka.tail import Tail, TailConsumer, end
from topics.leases import PreparedCounts
from topics.request.errors import FieldError, InvalidRequestError
from topics.request.model import SubmissionRequest
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import as_before, make_requested, to_resolve, with_pins
from topics.submissions.earlier_files import EarlierFiles, takes_files
from topics.submissions.facts import FACTS, Cancelled, Requested, SubmissionFact
from topics.submissions.state import Submission
from topics.times import milliseconds, now_ms
from topics.views.package_sets import PackageSets
from topics.views.view import View

log = logging.getLogger(__name__)

_TAKING = 4
"""Requests that take files from earlier submissions at a time. Each may grow from 200 bytes to the bound."""


class Submissions:
    """Submissions of this system: appends their events to the log, and reads the projection."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        settings: IngestSettings,
        instance: str,
        consumer: TailConsumer,
        latest: LatestVersions,
        environments: View,
        disk: DiskWatch,
        on_started: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Prepare to read with `consumer`, and to append; `start` begins.

        `latest` resolves packages of PyPI that have no version. `environments` is a view of
        `dependencies.store` that counts `unfinished_by_owner`. Nothing is accepted while `disk` has
        a shortage.
        `on_started` is called, in the consumer's thread, with the queue wait of each submission in seconds.
        """
        self._on_started, self._latest, self._disk = on_started, latest, disk
        self._kafka, self._settings = kafka, settings
        views = kafka.data_dir / "views"
        source = f"ingest/{instance}"
        timeout_ms = round(settings.acknowledge_timeout_s * 1000)
        self._producer = EventProducer(kafka, message_timeout_ms=timeout_ms)
        self._events = FactPublisher(self._producer, catalogue.submissions.events.name, FACTS, source)
        self.recent = RecentStats()
        self.waiting = WaitingSubmissions()
        self._taking = asyncio.Semaphore(_TAKING)
        """Held from the completion of a request that takes files until the broker has acknowledged it."""
        self._dispatch: DirectDispatch | None = None
        if kafka.dispatch == "turns":
            self._dispatch = DirectDispatch(
                self._producer, catalogue.submissions, source, lambda: self.waiting.undispatched
            )
            self._slots = Tail(
                kafka, catalogue.submissions.slots.name, self._take_slots, start_at=end, consumer=consumer
            )
        self.projection = Projection(
            kafka,
            catalogue.submissions,
            views / f"ingest-{instance}-submissions",
            consumer=consumer,
            on_folded=self._note,
            on_opened=lambda states: self.waiting.load(states, now_ms()),
            on_settled=self.waiting.correct,
        )
        self._builds = BuildQuota(kafka.max_unfinished_builds, environments, self.projection.is_unfinished)
        directory = views / f"ingest-{instance}-package-sets"
        self.package_sets = PackageSets(kafka, catalogue, directory, consumer)

    async def start(self) -> None:
        """Start to consume the topics."""
        self._loop = asyncio.get_running_loop()
        await self.package_sets.start()
        if self._dispatch:
            await self._slots.start()
        await self.projection.start()

    async def close(self) -> None:
        """Stop to consume, and flush the producer."""
        if self._dispatch:
            await self._dispatch.close()
        await asyncio.gather(self.projection.close(), self.package_sets.close(), self._latest.close())
        self._producer.close()

    async def accept(
        self,
        raw: bytes,
        caller: Caller,
        *,
        idempotency_key: str | None = None,
        extra_headers: Headers | None = None,
        interactive: bool = False,
    ) -> Submission:
        """Append a request to the log; return the new submission, or an earlier one of the same content.

        Args:
            raw: the request, JSON.
            caller: the owner of the submission, whose quota applies.
            idempotency_key: the key from which the id is derived if the request has none.
            extra_headers: headers that are added to the event.
            interactive: whether the client waits for the answer.

        Raises:
            ProblemError: 400, 413, 422 for a bad request, 409 for a conflict, 429 beyond the caller's quota
                or `max_unfinished_builds`, 503 if the system cannot accept requests now, 507 for want of
                disk space.
        """
        try:
            request, content_hash = parse_request(
                raw,
                self._kafka.request_bytes,
                self._kafka.webhook_allow,
                self._kafka.ceilings,
                caller.ceilings,
            )
            package_set = self._pin(request.package_set)
        except InvalidRequestError as error:
            raise invalid(error) from None
        if not self.projection.readable:  # quotas and earlier submissions of a key would be unknown
            async with self._while_reading():
                await self.projection.wait_readable()
        self._check_load(caller)
        id, named = self._choose_id(request.id, idempotency_key, caller.owner)
        is_new = request.id is None and idempotency_key is None  # else the id may be in use
        async with self._taking if takes_files(request) else nullcontext():
            if takes_files(request):
                request = await self._complete(id, request, content_hash, len(raw), caller)
            fact = make_requested(
                request,
                content_hash,
                package_set,
                source="http",
                owner=caller.owner,
                allowed_attempts=self._kafka.allowed_attempts,
            )
            if wanted := to_resolve(fact):
                fact = as_before(fact, self.projection.get(id)) or await self._resolved(fact, wanted)
            self._check_load(caller)  # others may have been accepted meanwhile
            self._check_builds(id, fact)
            submission = await self._append_request(
                id, fact, extra_headers, is_new=is_new, interactive=interactive
            )
        return caller.shown(_require_same(submission, fact, named))

    def _pin(self, name: str | None) -> str:
        """Return the pin of the package set that a request names, or of the default one.

        Raises:
            InvalidRequestError: there is no package set of this name.
            ProblemError: 503 if none is in force yet.
        """
        offered = self.package_sets.offered
        if offered is None:
            raise self._unavailable("no package set is in force yet", None)
        return offered.pin_of_request(name)

    async def _complete(
        self, id: str, request: SubmissionRequest, content_hash: str, sent_bytes: int, caller: Caller
    ) -> SubmissionRequest:
        """Return a request with the contents that it takes from earlier submissions, which any node may know.

        Raises:
            ProblemError: 413 or 422 if one cannot be taken, 503 if this node is behind.
        """
        async with self._while_reading():
            await self.projection.wait_for_end()
        files = EarlierFiles(
            self.projection.get, "http", self._kafka.request_bytes, caller.owner, caller.reads_hidden
        )
        try:  # in a thread, since earlier submissions may be large
            return await asyncio.to_thread(files.complete, id, request, content_hash, sent_bytes)
        except InvalidRequestError as error:
            raise invalid(error) from None

    async def _resolved(self, fact: Requested, wanted: Sequence[str]) -> Requested:
        """Return the fact with pins for the packages of PyPI that a request names without a version.

        Raises:
            ProblemError: 422 if there is no such package or version, 503 if the index does not answer.
        """
        try:
            return with_pins(fact, await self._latest.pins(wanted, fact.package_set))
        except InvalidRequestError as error:
            raise invalid(error) from None
        except CacheError as error:
            raise self._unavailable(f"{error}: wait, or give versions", None) from None

    async def _append_request(
        self,
        id: str,
        fact: Requested,
        extra_headers: Headers | None,
        *,
        is_new: bool,
        interactive: bool,
    ) -> Submission:
        """Append a request, dispatch it if a slot is free, and return the submission with this id.

        Raises:
            ProblemError: 503 if this node does not learn in time whether the request was accepted.
        """
        plan: DispatchPlan | None = None
        if self._dispatch:
            plan = self._dispatch.plan(id, fact) if is_new or self._is_unknown(id) else None
            fact = fact.replace(dispatch="direct" if plan else "turn", interactive=interactive)
        with self.projection.appending(id, fact.owner):
            try:
                event = await self._append(id, fact, extra_headers, plan if is_new else None)
                await self._fold_here(id, event)
                submission = await self._get(id, _regardless_of_owner)
            except ProblemError:
                if self._dispatch and plan and not is_new:  # `dispatch_after` drops the plan of a new id
                    self._dispatch.drop(plan)
                raise
        if self._dispatch and plan and not is_new:
            self._dispatch.dispatch_if_accepted(plan, event, self.projection.made_by(id, event.offset() or 0))
        return submission

    def _is_unknown(self, id: str) -> bool:
        """Return whether this node, which has folded what there was when it started, accepted no such id."""
        found = self.projection.get(id)
        return self.projection.caught_up and (found is None or found.status == "rejected")

    def prepared(self) -> PreparedCounts:
        """Return the use of prepared sandboxes, of the present workers; none if dispatch is off."""
        return self._dispatch.prepared() if self._dispatch else PreparedCounts()

    def _take_slots(self, messages: list[Message]) -> None:
        """Pass free slots of workers to the event loop, from the consumer's thread."""
        if self._dispatch:
            self._loop.call_soon_threadsafe(self._dispatch.update, messages)

    def _note(self, recorded: Recorded[SubmissionFact], state: Submission) -> None:
        """Take an event that changed a submission, in the consumer's thread."""
        if self.waiting.note(recorded, state):
            created_ms = milliseconds(state.created_at)
            self._on_started(self.recent.count_start(created_ms, recorded.happened_ms))
        if state.final:
            self.recent.count_end(state)
        if self._dispatch:
            self._dispatch.note(state)

    def _choose_id(self, id: str | None, key: str | None, owner: str | None) -> tuple[str, str]:
        """Return the id of a request, and its description in errors."""
        if id is not None:
            return id, f"id {id!r}"
        if key is None:
            id = str(uuid.uuid4())
            return id, f"id {id!r}"
        legacy = derive_legacy_id(key, owner)  # of an earlier version, if it is in use
        found = self.projection.get(legacy)
        id = legacy if found and found.owner == owner else derive_id(key, owner)
        return id, f"Idempotency-Key {key!r}"

    async def _fold_here(self, id: str, appended: Message) -> None:
        """Wait until this node has folded an event that it appended.

        Raises:
            ProblemError: 503 if it has not in time.
        """
        try:
            async with asyncio.timeout(self._settings.acknowledge_timeout_s):
                await self.projection.wait_for_offset(appended.partition() or 0, appended.offset() or 0)
        except TimeoutError:
            raise self._unavailable("this node did not consume the log in time", id) from None
        except asyncio.CancelledError:  # a server that shuts down cancels waiting requests
            raise self._unavailable("the server is shutting down", id) from None

    def _check_load(self, caller: Caller) -> None:
        """Refuse a request if too many submissions are unfinished, including those on their way to the log.

        Raises:
            ProblemError: 429 beyond the caller's quota, 503 beyond `max_unfinished`, 507 for want of disk
                space.
        """
        if shortage := self._disk.shortage():
            headers = {"Retry-After": str(self._settings.retry_after_s)}
            raise ProblemError(507, "insufficient-storage", shortage, headers=headers)
        quota, bound = caller.unfinished, self._kafka.max_unfinished
        if quota is not None and self.projection.unfinished(caller.owner) >= quota:
            detail = f"{quota} submissions of this API key are unfinished, which is its quota: wait for one"
            headers = {"Retry-After": str(self._settings.retry_after_s)}
            raise ProblemError(429, "too-many-unfinished", detail, headers=headers)
        if self.projection.unfinished_at_most >= bound and self.projection.all_unfinished >= bound:
            raise self._unavailable(f"{bound} submissions are unfinished, which is the limit", None)

    def _check_builds(self, id: str, fact: Requested) -> None:
        """Refuse a request for a new environment if its client has too many that are not built yet.

        Raises:
            ProblemError: 429.
        """
        owner, limits = build_owner(fact.owner), fact.request.limits.dependencies
        if not (
            self._builds.admits(owner, fact.dependencies_id, limits, now_ms()) or self.projection.knows(id)
        ):
            error = self._builds.refusal()
            headers = {"Retry-After": str(self._settings.retry_after_s)}
            raise ProblemError(429, "too-many-builds", str(error), errors=(error,), headers=headers)
        self._builds.note(owner, fact.dependencies_id, id)

    async def get(self, id: str, caller: Caller) -> Submission:
        """Return the submission; it is found if any node has acknowledged its request before this call.

        Raises:
            ProblemError: 404 if there is none or the caller may not read it, 503 if this node is behind.
        """
        return caller.shown(await self._get(id, caller.may_read))

    async def get_many(self, ids: Sequence[str], caller: Caller) -> AsyncIterator[Submission | None]:
        """Return an iterator over submissions in the order of `ids`, with None for those that `get` refuses.

        One of them is in memory at a time.

        Raises:
            ProblemError: 503 if this node is behind.
        """
        if not all(self.projection.knows(id) for id in ids):
            async with self._while_reading():
                await self.projection.wait_for_end()
        return self._each(ids, caller)

    async def _each(self, ids: Sequence[str], caller: Caller) -> AsyncIterator[Submission | None]:
        for id in ids:
            found = self.projection.get(id)
            yield caller.shown(found) if found and caller.may_read(found) else None
            await asyncio.sleep(0)  # let the event loop serve other connections

    async def _get(self, id: str, may_know: Callable[[Submission], bool]) -> Submission:
        submission = self.projection.get(id) or await self._look_up(id)
        if submission is None or not may_know(submission):
            raise ProblemError(404, "unknown-submission", f"there is no submission {id!r}")
        return submission

    async def _look_up(self, id: str) -> Submission | None:
        """Return the submission after all events that any node appended before this call, or None."""
        async with self._while_reading():
            await self.projection.wait_for_end()
        return self.projection.get(id)

    @asynccontextmanager
    async def _while_reading(self) -> AsyncIterator[None]:
        """Wait in this context for events.

        Raises:
            ProblemError: 503 if it takes too long.
        """
        try:
            async with asyncio.timeout(self._settings.acknowledge_timeout_s):
                yield
        except TimeoutError:
            raise self._unavailable("this node has not consumed the log to its end yet", None) from None

    async def list(self, query: listing.Query, caller: Caller) -> SubmissionPage:
        """Return a page of the submissions that the caller may read, as this node knows them.

        Raises:
            ProblemError: 422 for an invalid cursor, 503 if this node is behind.
        """
        try:
            async with self._while_reading():
                return await self.projection.list(query, None if caller.reads_all else caller.owner)
        except listing.BadCursorError as error:
            errors = [FieldError(field="query.cursor", message=str(error))]
            raise ProblemError(422, "invalid-parameters", f"query.cursor: {error}", errors=errors) from None

    async def wait_final(self, id: str, timeout_s: float, caller: Caller) -> Submission:
        """Return the submission when it is final, or its state after `timeout_s`."""
        # A server that shuts down cancels waiting requests. Answer with the present state, so that the
        # client learns that its request was accepted.
        with suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(timeout_s):
                return caller.shown(await self.projection.wait(id, _is_final))
        return caller.shown(await self._get(id, _regardless_of_owner))

    async def cancel(self, id: str, caller: Caller) -> Submission:
        """Append `Cancelled`, and return the submission after it; the fold decides whether it was in time.

        Raises:
            ProblemError: 404 if the caller may not cancel it, 409 if it had ended before, 503.
        """
        before = await self._get(id, caller.may_cancel)
        if not before.final:
            own = before.owner == caller.owner
            fact = Cancelled() if own else Cancelled(reason=f"cancelled by {caller.owner}")
            await self._fold_here(id, await self._append(id, fact))
        after = await self._get(id, caller.may_cancel)
        if after.status != "cancelled":
            raise ProblemError(409, "too-late", f"submission {id!r} is already {after.status}")
        return caller.shown(after)

    async def _append(
        self,
        id: str,
        fact: SubmissionFact,
        extra_headers: Headers | None = None,
        plan: DispatchPlan | None = None,
    ) -> Message:
        """Append an event, and carry out a plan then; return the report, with offset and append time.

        Raises:
            ProblemError: 503 if the broker did not acknowledge it in time.
        """
        try:
            appended = self._events.publish(id, fact, extra_headers)
            if self._dispatch and plan:
                self._dispatch.dispatch_after(appended, plan)
            return await appended
        except KafkaException as error:
            log.warning("submission %s was not acknowledged: %s", id, error)
            raise self._unavailable("the broker did not acknowledge in time", id) from None
        except asyncio.CancelledError:  # a server that shuts down cancels waiting requests
            raise self._unavailable("the server is shutting down", id) from None

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


def _is_final(submission: Submission) -> bool:
    return submission.final
