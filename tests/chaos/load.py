"""Submitting, cancelling, and never giving up: what clients do."""

import asyncio
import json
import re
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from tests.chaos.submissions import POISON_ATTEMPTS, Planned
from topics.catalogue import Catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, encode_fact
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import CANCEL, FACTS

ANSWER_S = 30.0
"""Far more than ingest promises; its process may be stopped, and then never answers."""
PATIENCE_S = 180.0
"""For how long a client tries again."""
_PAUSE_S = 0.5


class GaveUpError(Exception):
    """A client found no answer in time, or one that it cannot understand."""


@dataclass
class Accepted:
    """What clients were told."""

    ids: dict[str, Planned] = field(default_factory=dict)
    """Accepted, by id."""
    cancels: dict[str, str] = field(default_factory=dict)
    """`cancelled` or `too late`, by id; a cancellation from Kafka gets no answer."""
    answers: Counter[str] = field(default_factory=Counter)
    """Status codes and failures of connections."""
    slowest_s: float = 0.0
    """The slowest answer of HTTP that came at all."""


class Clients:
    """All clients of a run."""

    def __init__(self, url: str, kafka: KafkaSettings, topics: Catalogue, package_set: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=ANSWER_S, trust_env=False)
        self._kafka, self._topics, self._package_set = kafka, topics, package_set
        self._producer = EventProducer(kafka)
        self.accepted = Accepted()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._http.aclose()
        await asyncio.to_thread(self._producer.close)

    async def handle(self, planned: Planned) -> None:
        """From the request to its cancellation, if it has one.

        Raises:
            GaveUpError: the system did not answer in time, or wrongly.
        """
        id = await self._submit(planned)
        self.accepted.ids[id] = planned
        if planned.kind == "cancelled":
            await asyncio.sleep(planned.cancel_after_s)
            await self._cancel(id, planned)

    async def wait_for_empty_queue(self, timeout_s: float) -> None:
        """Return once no submission is queued, or after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    answer = await self._ask("GET", "/submissions?status=queued&limit=1")
                    if answer is not None and answer.status_code == 200 and not answer.json()["submissions"]:
                        return
                    await asyncio.sleep(_PAUSE_S)

    async def _submit(self, planned: Planned) -> str:
        match planned.way:
            case "http":
                return await self._post(planned.request | {"id": planned.id})
            case "http without id":
                return await self._post(planned.request)
            case "kafka":
                value = json.dumps(planned.request)
                await self._send(Record(self._topics.requests.name, planned.id, value, []))
            case "log":
                await self._send(self._as_fact(planned))
        return planned.id

    def _as_fact(self, planned: Planned) -> Record:
        """As a request handler would write it down, with other settings than those of this system."""
        request, content_hash = parse_request(json.dumps(planned.request).encode(), 1_000_000)
        fact = make_requested(
            request, content_hash, self._package_set, source="kafka", allowed_attempts=POISON_ATTEMPTS
        )
        return encode_fact(self._topics.submissions.events.name, planned.id, fact, FACTS, "chaos")

    async def _post(self, body: dict[str, object]) -> str:
        """A 503 that names the id is answered by the same request with that id."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            answer = await self._ask("POST", "/submissions", json=body)
            if answer is not None and answer.status_code == 202:
                return str(answer.json()["id"])
            if answer is not None and answer.status_code != 503:
                raise GaveUpError(f"{body}: {answer.status_code} {answer.text}")
            if answer is not None and (named := re.search(r"submission '(\S+)'", answer.text)):
                body = body | {"id": named[1]}
            await asyncio.sleep(_PAUSE_S)
        raise GaveUpError(f"{body} was not accepted within {PATIENCE_S} s")

    async def _cancel(self, id: str, planned: Planned) -> None:
        if planned.cancel_way == "kafka":
            headers = cloud_event(CANCEL, uuid.uuid4().hex, id, "chaos")
            await self._send(Record(self._topics.requests.name, id, None, headers))
            return
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            answer = await self._ask("DELETE", f"/submissions/{id}")
            match answer.status_code if answer is not None else 503:
                case 200:
                    self.accepted.cancels[id] = "cancelled"
                    return
                case 409:
                    self.accepted.cancels[id] = "too late"
                    return
                case 404 if planned.way != "http":  # its request waits in Kafka
                    pass
                case 503:
                    pass
                case other:
                    raise GaveUpError(f"DELETE {id}: {other} {answer.text if answer is not None else ''}")
            await asyncio.sleep(_PAUSE_S)
        raise GaveUpError(f"{id} could not be cancelled within {PATIENCE_S} s")

    async def _ask(self, method: str, path: str, **request: object) -> httpx.Response | None:
        """None where the connection failed."""
        began = time.monotonic()
        try:
            answer = await self._http.request(method, path, **request)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            self.accepted.answers[type(error).__name__] += 1
            return None
        self.accepted.answers[f"{method} {answer.status_code}"] += 1
        self.accepted.slowest_s = max(self.accepted.slowest_s, time.monotonic() - began)
        return answer

    async def _send(self, record: Record) -> None:
        await self._producer.publish(record)
