"""WebhookSender: delivers webhooks and schedules their retries.

consumes  `webhooks.pending`, `webhooks.retries` (two consumer groups)
produces  `webhooks.retries`: failed deliveries, with the time of the next attempt
          `dead-letters`: webhooks whose last attempt failed

A record is done once its receiver accepted the webhook, or once it was published to another topic. Deliveries
in progress when this process ends are repeated, with the same id.
"""

import asyncio
import logging
import random
import time
import uuid
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Message

from processors.settings import WebhookSettings
from processors.webhooks.backoff import LONGEST_S, pause_s
from processors.webhooks.intake import Intake
from processors.webhooks.post import TIMEOUT_S, NotDeliveredError, Poster, Resolve
from processors.webhooks.signing import SecretError, read_secrets, signed_headers
from topics.catalogue import WEBHOOK_GROUP, Catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, decode, encode, make_dead_letter
from topics.process import crash
from topics.request.callback_urls import Target, refusal, target
from topics.settings import KafkaSettings
from topics.submissions.webhook import WEBHOOK, Webhook

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Requests to one receiver at a time. The allow-list bounds the receivers, and so all requests."""
IN_LINE = 256
"""Webhooks that may wait for one receiver. Further ones go to the topic of retries, to keep no others
waiting."""
_ASIDE_S = 3.0
"""Longest pause of a webhook that was put off because of `IN_LINE`."""


class WebhookSender:
    """Process that delivers webhooks; several processes share the partitions."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        settings: WebhookSettings,
        instance: str,
        resolve: Resolve | None = None,
    ) -> None:
        """Read the signing secrets and create the clients; `run` starts them.

        `resolve` replaces the system's resolver.

        Raises:
            SecretError: the file of secrets is not set, or unusable.
        """
        if settings.webhook_secret_file is None:
            raise SecretError("ENVICUTOR_WEBHOOK_SECRET_FILE is not set: name a file with a line `whsec_…`")
        self._signers = read_secrets(settings.webhook_secret_file)
        self._catalogue, self._settings = catalogue, settings
        self._allowed = kafka.webhook_allow
        self._source = f"webhook-sender/{instance}"
        self._poster = Poster(self._allowed, settings.webhook_ca_file, resolve)
        self._producer = EventProducer(kafka)
        groups = {catalogue.webhooks: WEBHOOK_GROUP, catalogue.webhook_retries: f"{WEBHOOK_GROUP}-retries"}
        self._intakes = [
            Intake(kafka, topic.name, group, on_record=self._on_record, on_failure=self._fail)
            for topic, group in groups.items()
        ]
        self._receivers = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(AT_ONCE))
        self._in_line: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        """Tasks of all open records."""
        self._under_way: set[asyncio.Task[None]] = set()
        """Tasks with a request in progress."""
        self._stop = asyncio.Event()
        self._has_failed = False

    def stop(self) -> None:
        """Ask `run` to return once the requests in progress are over, or timed out."""
        self._stop.set()

    async def run(self) -> bool:
        """Deliver until stopped; return False if the process must be started again."""
        self._loop = asyncio.get_running_loop()
        # Name resolution occupies a thread; one slow receiver must not keep the others waiting.
        self._loop.set_default_executor(ThreadPoolExecutor(8 + AT_ONCE * len(self._allowed)))
        for intake in self._intakes:
            intake.start()
        log.info("%s: sending webhooks to %s", self._source, ", ".join(map(str, self._allowed)) or "no host")
        await self._stop.wait()
        for intake in self._intakes:
            await asyncio.to_thread(intake.stop)
        await self._finish()
        for intake in self._intakes:
            await asyncio.to_thread(intake.close)
        await self._poster.close()
        self._producer.close()
        return not self._has_failed

    def _fail(self) -> None:
        self._has_failed = True
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _finish(self) -> None:
        for task in self._tasks - self._under_way:  # their records are redelivered
            task.cancel()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=TIMEOUT_S + 1)
            for task in late:
                task.cancel()

    # -- one record ----------------------------------------------------------------------------------

    def _on_record(self, intake: Intake, message: Message) -> None:
        """Start a task for a record; called from the intake's thread."""
        self._loop.call_soon_threadsafe(self._start_task, intake, message)

    def _start_task(self, intake: Intake, message: Message) -> None:
        task = self._loop.create_task(self._handle(intake, message))
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a webhook can neither be delivered nor published again", exc_info=error)
            crash("a webhook would be lost")

    async def _handle(self, intake: Intake, message: Message) -> None:
        if (record := await self._delivered(message)) is not None:
            await self._producer.publish(record)
        intake.done(message)

    async def _delivered(self, message: Message) -> Record | None:
        """Deliver a webhook; return None if its receiver accepted it, else the record to publish instead."""
        try:
            webhook = decode(Webhook, message.value())
            where = target(webhook.url)
            pause_s = min(webhook.not_before_ms / 1000 - time.time(), LONGEST_S)
        except (ValueError, OverflowError) as error:
            return self._given_up(message, str(error))
        if why := refusal(webhook.url, self._allowed):
            return self._given_up(message, why)
        del webhook  # it may be large, and may wait for an hour
        await asyncio.sleep(pause_s)
        webhook = decode(Webhook, message.value())
        if self._in_line[where.host_and_port] >= IN_LINE:
            return self._later(webhook, _ASIDE_S)
        try:
            await self._post(webhook, where)
            return None
        except NotDeliveredError as error:
            why = str(error)
        except Exception as error:  # one unusable webhook must not stop all others
            log.exception("submission %s: webhook failed", webhook.body.data.id)
            why = f"{type(error).__name__}: {error}"
        return self._failed(webhook.replace(tries=webhook.tries + 1), message, why)

    async def _post(self, webhook: Webhook, where: Target) -> None:
        self._in_line[where.host_and_port] += 1
        try:
            async with self._receivers[where.host_and_port]:
                task = asyncio.current_task()
                assert task is not None
                self._under_way.add(task)
                body = encode(webhook.body)
                headers = signed_headers(self._signers, webhook.id, int(time.time()), body)
                headers["Content-Type"] = "application/json"
                await self._poster.post(where, body, headers, webhook.tries)
        finally:
            self._in_line[where.host_and_port] -= 1

    def _failed(self, webhook: Webhook, message: Message, why: str) -> Record:
        log.info(
            "submission %s: webhook to %s, try %d: %s", webhook.body.data.id, webhook.url, webhook.tries, why
        )
        if webhook.tries >= self._settings.webhook_attempts:
            return self._given_up(message, f"not delivered after {webhook.tries} tries; the last one: {why}")
        return self._later(webhook, pause_s(self._settings.webhook_first_retry_s, webhook.tries))

    def _later(self, webhook: Webhook, at_most_s: float) -> Record:
        """Return a record for a later attempt, with jitter so that simultaneous failures are spread."""
        pause_s = at_most_s * random.uniform(0.5, 1)  # noqa: S311 - not a secret
        due = webhook.replace(not_before_ms=round((time.time() + pause_s) * 1000))
        id = webhook.body.data.id
        headers = cloud_event(WEBHOOK, uuid.uuid4().hex, id, self._source)
        return Record(self._catalogue.webhook_retries.name, id.encode(), encode(due), headers)

    def _given_up(self, message: Message, why: str) -> Record:
        log.warning("webhook of submission %r becomes a dead letter: %s", message.key(), why)
        return make_dead_letter(self._catalogue.dead_letters.name, message, why)
