"""RequestHandler for Kafka: turns requests on a topic into events.

consumes  `submissions.requests` (consumer group): requests in the format of HTTP, and cancellations;
          `submissions.store`, `dependencies.store` (as views)
produces  Requested, Cancelled, Rejected on `submissions.events`; `dead-letters`
"""

import asyncio
import logging
import threading
from concurrent.futures import Future, wait
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Message

from nix.registries.latest import LatestVersions
from processors.request_records import handle, reply_topic_of
from processors.resolving import Handled, needs_resolving, resolve_all
from topics.catalogue import REQUEST_GROUP, Catalogue
from topics.dependencies import build_owner
from topics.dependencies.quota import BuildQuota
from topics.dependencies.state import unfinished_by_owner
from topics.disk import DiskSettings, DiskWatch
from topics.kafka.clients import EventProducer, PauseControl, consume_batch, consumer_config, leave
from topics.kafka.codec import (
    DecodeError,
    Headers,
    Record,
    carried,
    decode_key,
    encode_fact,
    headers,
    make_dead_letter,
)
from topics.kafka.liveness import with_liveness_check
from topics.kafka.records import usable
from topics.kafka.replies import ReplyTopics
from topics.request.errors import FieldError, InvalidRequestError
from topics.request.limits import MiB
from topics.request.package_sets import OfferedPackageSets
from topics.settings import KafkaSettings
from topics.submissions.earlier_files import taken_bytes
from topics.submissions.facts import FACTS, Rejected, Requested, SubmissionFact
from topics.submissions.state import Submission, unfinished, unfinished_from
from topics.times import now_ms
from topics.views.package_sets import PackageSets
from topics.views.view import View

log = logging.getLogger(__name__)

_BATCH = 500
"""Requests that are published together, if the client has prefetched so many; it prefetches up to 64 MiB."""
_TAKEN_BYTES = 64 * MiB
"""Bytes of earlier submissions, and of contents that are taken from them, after which the rest of a batch
waits. A request of 200 bytes can take as much as the largest one has."""


class Published(NamedTuple):
    """Requests, and the acknowledgements of the records that were produced for them."""

    messages: list[Message]
    acknowledgements: list[Future[Message]]


class _StoppingError(Exception):
    """The process is to stop before it could handle a batch."""


class RequestHandler:
    """Process that handles the requests of its share of the partitions."""

    def __init__(
        self, settings: KafkaSettings, catalogue: Catalogue, instance: str, latest: LatestVersions
    ) -> None:
        """Prepare to handle; `latest` resolves packages of PyPI that have no version."""
        self._settings, self._catalogue = settings, catalogue
        self._source = f"request-handler/{instance}"
        self._producer = EventProducer(settings)
        self._latest = latest
        self._package_sets = PackageSets(
            settings, catalogue, settings.data_dir / "views" / f"request-handler-{instance}"
        )
        self._consumer = Consumer(with_liveness_check(consumer_config(settings, REQUEST_GROUP)))
        self._replies = ReplyTopics(settings, catalogue)
        self._pause_control = PauseControl(self._consumer)
        views = settings.data_dir / "views"
        self._store = View(
            settings,
            catalogue.submissions.store.name,
            views / f"request-handler-{instance}-submissions",
            status_of=unfinished_from("kafka"),
            in_batches=True,  # ids that the view does not contain yet are counted as unfinished
        )
        self._environments = View(
            settings,
            catalogue.dependencies.store.name,
            views / f"request-handler-{instance}-environments",
            status_of=unfinished_by_owner,
        )
        self._disk = DiskWatch.of_role(DiskSettings(), settings.data_dir)
        self._builds = BuildQuota(settings.max_unfinished_builds, self._environments, self._is_unfinished)
        self._unseen: set[str] = set()
        """Ids that were published, and that the view of the store does not contain yet."""
        self._is_store_read = False
        """Whether the view has what was in the store when the present batch was consumed."""
        self._taken_bytes = 0
        """Bytes that count towards `_TAKEN_BYTES` in the present batch."""
        self._waiting: list[Message] = []
        """Requests that were consumed, and wait for the end of the present batch."""
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask `run` to return after the current batch."""
        self._stopping.set()

    async def run(self) -> None:
        """Handle requests until stopped.

        Raises:
            KafkaException: the consumer failed; the process must be started again.
        """
        self._event_loop = asyncio.get_running_loop()
        await self._package_sets.start()
        await self._store.start()
        await self._environments.start()
        self._consumer.subscribe([self._catalogue.requests.name], on_assign=self._pause_control.on_assign)
        try:
            await asyncio.to_thread(self._loop)
        finally:
            leave(self._consumer)
            await self._package_sets.close()
            await self._store.close()
            await self._environments.close()
            await self._latest.close()
            self._producer.close()

    def _loop(self) -> None:
        earlier: Published | None = None
        logged = None
        while not self._stopping.is_set():
            package_sets = self._package_sets.offered
            if (doing := self._doing()) != logged:
                logged = doing
                log.info("request-handler: %s", doing)
            if package_sets is None or self._unread_topics():  # the records wait on their topic
                self._stopping.wait(0.1)
                continue
            messages = self._next(0 if earlier else 0.1)
            try:
                published = self._publish(messages, package_sets) if messages else None
            except _StoppingError:  # nothing of this batch was published: it is consumed again
                published = None
            if earlier:  # the broker acknowledged them while the next batch was parsed
                self._settle(earlier)
            earlier = published
        if earlier:
            self._settle(earlier)

    def _doing(self) -> str:
        """Return what this process does now, as a phrase for the log."""
        if topics := self._unread_topics():
            return f"reads {' and '.join(topics)}"
        if self._package_sets.in_force is None:
            return "waits for a package set: `envicutor packages refresh` puts one in force"
        return f"takes requests from {self._catalogue.requests.name}"

    def _unread_topics(self) -> list[str]:
        """Return the topics of the views that do not contain yet what was on them at the start.

        In such a view an installed environment looks absent, and the refusal of its submission is final.
        """
        views = {
            self._catalogue.submissions.store.name: self._store,
            self._catalogue.dependencies.store.name: self._environments,
        }
        return [topic for topic, view in views.items() if not view.caught_up]

    def _publish(self, messages: list[Message], package_sets: OfferedPackageSets) -> Published:
        """Publish as many as are a batch; the others wait."""
        self._is_store_read, self._taken_bytes = False, 0
        handled: list[Handled] = []
        for message in messages:
            handled.append(self._handle(message, package_sets))
            if self._taken_bytes >= _TAKEN_BYTES:
                break
        messages, self._waiting = messages[: len(handled)], messages[len(handled) :]
        if any(map(needs_resolving, handled)):
            resolution = resolve_all(handled, self._latest, self._store)
            handled = asyncio.run_coroutine_threadsafe(resolution, self._event_loop).result()
        acknowledgements = [
            self._producer.produce(record)
            for message, result in zip(messages, map(self._admitted, handled), strict=True)
            for record in self._records(message, result)
        ]
        return Published(messages, acknowledgements)

    def _settle(self, published: Published) -> None:
        """Wait for the acknowledgements, then commit: the requests need not be consumed again."""
        wait(published.acknowledgements)
        for acknowledgement in published.acknowledgements:
            acknowledgement.result()
        self._commit(published.messages)

    def _next(self, timeout_s: float) -> list[Message]:
        """Return the requests that wait, or consume others."""
        if not self._waiting:
            return list(usable(self._batch(timeout_s), "request-handler"))
        self._pause_control.pause()  # polled nevertheless: to be silent for long would end the membership
        return [*self._waiting, *usable(consume_batch(self._consumer, 1, 0), "request-handler")]

    def _batch(self, timeout_s: float) -> list[Message]:
        """Consume as many records as the limit of unfinished submissions from Kafka leaves room for."""
        room = self._room()
        if room < _BATCH:  # looking up each id is slow, so only if the limit is near
            self._unseen = {id for id in self._unseen if self._store.get(id) is None}
            room = self._room()
        if room > 0:
            self._pause_control.release()
            return consume_batch(self._consumer, min(_BATCH, room), timeout_s)
        self._pause_control.pause()
        return consume_batch(self._consumer, 1, timeout_s)

    def _room(self) -> int:
        return self._settings.max_unfinished_from_kafka - self._store.with_status - len(self._unseen)

    def _handle(self, message: Message, package_sets: OfferedPackageSets) -> Handled:
        try:
            handled = handle(
                message,
                package_sets,
                self._settings.request_bytes,
                self._settings.allowed_attempts,
                self._settings.webhook_allow,
                self._replies.refusal,
                self._find,
                self._settings.ceilings,
            )
        except DecodeError as error:
            return error
        if isinstance(handled, tuple) and isinstance(fact := handled[1], Requested):
            self._taken_bytes += taken_bytes(fact.request)
        return handled

    def _admitted(self, handled: Handled) -> Handled:
        """Return a request as it is, or why there is no room for it, or for one more environment to be built.

        A request that was accepted before, and is consumed again, stays as it is.
        """
        if not isinstance(handled, tuple) or not isinstance(fact := handled[1], Requested):
            return handled
        id, owner, limits = handled[0], build_owner(fact.owner), fact.request.limits.dependencies
        is_new = id not in self._unseen and not self._store.get(id)
        if is_new and (shortage := self._disk.shortage()):
            return InvalidRequestError((FieldError(field="", message=shortage),))
        if not self._builds.admits(owner, fact.dependencies_id, limits, now_ms()) and is_new:
            return InvalidRequestError((self._builds.refusal(),))
        self._builds.note(owner, fact.dependencies_id, id)
        return handled

    def _is_unfinished(self, id: str) -> bool:
        """Return whether a submission from Kafka has no end yet, as far as this process knows."""
        if self._store.status(id) is not None:
            return True
        return id in self._unseen and self._store.get(id) is None

    def _records(self, message: Message, handled: Handled) -> list[Record]:
        letters = self._catalogue.dead_letters.name
        if isinstance(handled, DecodeError):
            return [make_dead_letter(letters, message, str(handled))]
        carried_headers = carried(headers(message))
        if isinstance(handled, InvalidRequestError):
            rejected = Rejected(errors=handled.errors, reply_topic=self._rejection_topic(message))
            event = self._fact(decode_key(message), rejected, carried_headers)
            return [event, make_dead_letter(letters, message, str(handled))]
        id, fact = handled
        if isinstance(fact, Requested):
            self._unseen.add(id)
            if self._settings.dispatch == "turns":
                fact = fact.replace(dispatch="turn")
        return [self._fact(id, fact, carried_headers)]

    def _find(self, id: str) -> Submission | None:
        """Return a submission as it was when the present batch was consumed, or later; None if there is none.

        The producer of a request may have read of an earlier submission's end before this view.
        """
        raw = self._store.get(id)
        if not self._is_store_read and (raw is None or unfinished(raw)):
            self._read_store()
            raw = self._store.get(id)
        self._taken_bytes += len(raw or b"")
        return Submission.read(raw) if raw else None

    def _read_store(self) -> None:
        """Wait until the view has all that is in the store now.

        Raises:
            _StoppingError: this process is to stop.
        """
        reading = asyncio.run_coroutine_threadsafe(self._store.wait_for_end(), self._event_loop)
        while wait([reading], timeout=0.1).not_done:
            if self._stopping.is_set():
                reading.cancel()
                raise _StoppingError
        reading.result()
        self._is_store_read = True

    def _rejection_topic(self, message: Message) -> str | None:
        """Return the topic to which a rejection is produced, or None if no answer may be produced to it."""
        try:
            return reply_topic_of(message, self._replies.refusal)
        except InvalidRequestError:
            return None

    def _fact(self, id: str, fact: SubmissionFact, carried_headers: Headers) -> Record:
        events = self._catalogue.submissions.events.name
        return encode_fact(events, id, fact, FACTS, self._source, carried_headers)

    def _commit(self, messages: list[Message]) -> None:
        try:
            for message in {message.partition(): message for message in messages}.values():
                self._consumer.store_offsets(message)
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            # Another handler consumes the records again: the same id with the same content is one submission.
            log.warning("request-handler: commit failed: %s", error)
