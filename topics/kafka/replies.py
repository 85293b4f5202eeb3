"""Topics for answers, which requests may name in a header; an operator allows one by creating it."""

import asyncio
import time
from collections.abc import Collection

from confluent_kafka.admin import AdminClient, ConfigResource

from topics.catalogue import Catalogue
from topics.kafka.clients import connection
from topics.settings import KafkaSettings

_FRESH_S = 60.0
_LOOK_AGAIN_S = 1.0
"""Age of the list after which an unknown topic is looked for again: it may have just been created."""
_ANSWER_S = 10.0


class ReplyTopics:
    """The reply topics that exist, as of at most `_FRESH_S` ago."""

    def __init__(self, settings: KafkaSettings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._prefix = catalogue.replies.name
        self._needed_bytes = catalogue.replies.max_message_bytes
        self._other_topics = {topic.name for topic in catalogue.topics()}
        self._found: dict[str, int] = {}
        """Largest record in bytes that each topic takes, by name."""
        self._looked_at = -_FRESH_S

    def refusal(self, name: str) -> str | None:
        """Return why no answer may be produced to the topic `name`, or None if one may.

        Raises:
            KafkaException: the broker did not answer.
        """
        if self._is_stale(name):
            self._look()
        return self._refusal(name)

    async def refusals(self, names: Collection[str]) -> dict[str, str]:
        """Return why no answer may be produced to a topic, for those of `names` to which none may.

        Raises:
            KafkaException: the broker did not answer.
        """
        if any(self._is_stale(name) for name in names):
            await asyncio.to_thread(self._look)
        return {name: why for name in names if (why := self._refusal(name)) is not None}

    def _is_allowed(self, name: str) -> bool:
        return name.startswith(self._prefix) and name not in self._other_topics

    def _is_stale(self, name: str) -> bool:
        age_s = time.monotonic() - self._looked_at
        old = age_s > _FRESH_S or (name not in self._found and age_s > _LOOK_AGAIN_S)
        return old and self._is_allowed(name)

    def _refusal(self, name: str) -> str | None:
        if not self._is_allowed(name):
            return f"{name[:80]!r} is not allowed: names of reply topics begin with {self._prefix!r}"
        if name not in self._found:
            return f"there is no topic {name[:80]!r}: an operator must make it"
        if self._found[name] < self._needed_bytes:
            return f"{name!r} takes no large answers: its max.message.bytes is below {self._needed_bytes}"
        return None

    def look_again(self) -> None:
        """Forget the topics that were found: one of them may have been deleted."""
        self._looked_at = -_FRESH_S

    def _look(self) -> None:
        admin = AdminClient(connection(self._settings))  # fresh: an old one may not find a restarted broker
        names = [
            name for name in admin.list_topics(timeout=_ANSWER_S).topics if name.startswith(self._prefix)
        ]
        asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        described = admin.describe_configs(asked, request_timeout=_ANSWER_S) if asked else {}
        self._found = {
            resource.name: int(future.result()["max.message.bytes"].value)
            for resource, future in described.items()
        }
        self._looked_at = time.monotonic()
