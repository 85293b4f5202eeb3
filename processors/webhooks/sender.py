"""WebhookSender.

consumes  `webhooks.pending`, `webhooks.retries` (two consumer groups)
produces  `webhooks.retries`: what was told in vain, with the time of the next try; `dead-letters`: at last

A record is done once its receiver said yes, or once it stands on another topic. What was under way when
this process died is told again, under the same id.
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
from topics.kafka.codec import Record, cloud_event, dead_letter, decode, encode
from topics.process import crash
from topics.request.callback_urls import Target, refusal, target
from topics.settings import KafkaSettings
from topics.submissions.webhook import WEBHOOK, Webhook

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Requests to one receiver at a time. Receivers are those of the allow-list, so all are bounded, too."""
IN_LINE = 256
"""Webhooks that wait for their receiver; more go to the topic of retries, where they are in nobody's way."""
_ASIDE_S = 3.0
"""For how long, at most."""


class WebhookSender:
    """One process; several share the work."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        settings: WebhookSettings,
        instance: str,
        resolve: Resolve | None = None,
    ) -> None:
        """`resolve` looks addresses up, where the system's resolver is not to.

        Raises:
            SecretError: there is nothing to sign with.
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
            Intake(kafka, topic.name, group, take=self._take, on_death=self._die)
            for topic, group in groups.items()
        ]
        self._receivers = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(AT_ONCE))
        self._in_line: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        """One for each record that is open."""
        self._under_way: set[asyncio.Task[None]] = set()
        """Those whose receiver is being told."""
        self._stop = asyncio.Event()
        self._died = False

    def stop(self) -> None:
        """Ask `run` to return once what is under way has had its time."""
        self._stop.set()

    async def run(self) -> bool:
        """Send until stopped; False where the process must be started again."""
        self._loop = asyncio.get_running_loop()
        # Looking up a name takes a thread; those of one receiver must not keep the others waiting.
        self._loop.set_default_executor(ThreadPoolExecutor(8 + AT_ONCE * len(self._allowed)))
        for intake in self._intakes:
            intake.start()
        log.info("%s: sends webhooks to %s", self._source, ", ".join(map(str, self._allowed)) or "no host")
        await self._stop.wait()
        for intake in self._intakes:
            await asyncio.to_thread(intake.stop)
        await self._finish()
        for intake in self._intakes:
            await asyncio.to_thread(intake.close)
        await self._poster.close()
        self._producer.close()
        return not self._died

    def _die(self) -> None:
        self._died = True
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _finish(self) -> None:
        for task in self._tasks - self._under_way:  # they stand on the log
            task.cancel()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=TIMEOUT_S + 1)
            for task in late:
                task.cancel()

    # -- one record ----------------------------------------------------------------------------------

    def _take(self, intake: Intake, message: Message) -> None:
        """Called from the intake's thread."""
        self._loop.call_soon_threadsafe(self._begin, intake, message)

    def _begin(self, intake: Intake, message: Message) -> None:
        task = self._loop.create_task(self._handle(intake, message))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a webhook", exc_info=error)
            crash("a webhook is nobody's")

    async def _handle(self, intake: Intake, message: Message) -> None:
        if (record := await self._told(message)) is not None:
            await self._producer.send(record)
        intake.done(message)

    async def _told(self, message: Message) -> Record | None:
        """Tell it; None where its receiver said yes, else what must be on a topic before this is done."""
        try:
            webhook = decode(Webhook, message.value())
            where = target(webhook.url)
            pause_s = min(webhook.not_before_ms / 1000 - time.time(), LONGEST_S)
        except (ValueError, OverflowError) as error:
            return self._given_up(message, str(error))
        if why := refusal(webhook.url, self._allowed):
            return self._given_up(message, why)
        await asyncio.sleep(pause_s)
        if self._in_line[where.place] >= IN_LINE:
            return self._later(webhook, _ASIDE_S)
        try:
            await self._post(webhook, where)
            return None
        except NotDeliveredError as error:
            why = str(error)
        except Exception as error:  # one webhook that cannot be handled must not stop all others
            log.exception("submission %s: a webhook", webhook.body.data.id)
            why = f"{type(error).__name__}: {error}"
        return self._failed(webhook.replace(tries=webhook.tries + 1), message, why)

    async def _post(self, webhook: Webhook, where: Target) -> None:
        self._in_line[where.place] += 1
        try:
            async with self._receivers[where.place]:
                task = asyncio.current_task()
                assert task is not None
                self._under_way.add(task)
                body = encode(webhook.body)
                headers = signed_headers(self._signers, webhook.id, int(time.time()), body)
                headers["Content-Type"] = "application/json"
                await self._poster.post(where, body, headers, webhook.tries)
        finally:
            self._in_line[where.place] -= 1

    def _failed(self, webhook: Webhook, message: Message, why: str) -> Record:
        log.info("submission %s: %s, try %d: %s", webhook.body.data.id, webhook.url, webhook.tries, why)
        if webhook.tries >= self._settings.webhook_attempts:
            return self._given_up(message, f"not told after {webhook.tries} tries; the last one: {why}")
        return self._later(webhook, pause_s(self._settings.webhook_first_retry_s, webhook.tries))

    def _later(self, webhook: Webhook, at_most_s: float) -> Record:
        """What failed together does not come back together."""
        pause_s = at_most_s * random.uniform(0.5, 1)  # noqa: S311 - not a secret
        due = webhook.replace(not_before_ms=round((time.time() + pause_s) * 1000))
        id = webhook.body.data.id
        headers = cloud_event(WEBHOOK, uuid.uuid4().hex, id, self._source)
        return Record(self._catalogue.webhook_retries.name, id.encode(), encode(due), headers)

    def _given_up(self, message: Message, why: str) -> Record:
        log.warning("webhook of submission %r goes to the dead letters: %s", message.key(), why)
        return dead_letter(self._catalogue.dead_letters.name, message, why)
