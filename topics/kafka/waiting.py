"""Waiting for the broker and for topics, with a log line that names what is missing."""

import logging
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from topics.catalogue import Catalogue
from topics.kafka.clients import SHORT_LIVED, connection
from topics.settings import KafkaSettings
from topics.topic import Role

log = logging.getLogger(__name__)

_ANSWER_S = 0.5
"""Timeout of one metadata request; a process that waits for it in its main thread handles no signal."""
_ASK_AGAIN_S = 0.2
"""Pause between two metadata requests."""


def topics_of(role: Role, catalogue: Catalogue) -> list[str]:
    """Return the names of the topics that a role reads or writes."""
    return [topic.name for topic in catalogue.topics() if role in (*topic.writers, *topic.readers)]


def wait_for_topics(settings: KafkaSettings, names: Collection[str], who: str) -> None:
    """Return once the broker has all topics of these `names`; log what is missing whenever that changes.

    `who` is the subject of the log lines.
    """
    question = _Question(settings, names, who)
    while not question.answered():
        time.sleep(_ASK_AGAIN_S)


def topics_in_background(settings: KafkaSettings, names: Collection[str], who: str) -> Future[None]:
    """Wait as `wait_for_topics` does, in a thread of its own; the future is done once all topics exist.

    The thread begins to log what is missing before slow imports and checks of the caller have ended.
    """
    found: Future[None] = Future()
    found.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it

    def wait() -> None:
        try:
            wait_for_topics(settings, names, who)
        except BaseException as error:  # raised by a caller that waits for the future
            log.exception("%s cannot ask for its topics", who)
            found.set_exception(error)
        else:
            found.set_result(None)

    threading.Thread(target=wait, name="topics", daemon=True).start()
    return found


class _Question:
    """Requests for missing topics with one client, which keeps its connection between the requests."""

    def __init__(self, settings: KafkaSettings, names: Collection[str], who: str) -> None:
        self._servers, self._names, self._who = settings.bootstrap_servers, names, who
        self._reason = "it does not answer"
        self._logged: str | None = None
        self._admin = AdminClient(connection(settings) | SHORT_LIVED | {"error_cb": self._on_error})

    def answered(self) -> bool:
        """Return whether nothing is missing; log what is missing if that has changed."""
        missing = self._missing()
        if missing and missing != self._logged:
            log.warning("%s: waits for %s", self._who, missing)
            self._logged = missing
        elif not missing and self._logged:
            log.info("%s: found the topics", self._who)
        return not missing

    def _missing(self) -> str | None:
        """Return a description of what is missing; None if nothing is."""
        try:
            there = self._admin.list_topics(timeout=_ANSWER_S).topics
        except KafkaException:
            self._admin.poll(0)  # calls `_on_error`
            return f"the broker at {self._servers}: {self._reason}"
        missing = [name for name in self._names if name not in there]
        return f"the topics {', '.join(missing)} on {self._servers}" if missing else None

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # has no reason of its own
            self._reason = error.str().partition(" (after ")[0]
