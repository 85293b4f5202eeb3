"""The latest step of each build, as this node knows it.

consumes  `dependencies.steps`
"""

import asyncio
from collections import OrderedDict
from contextlib import AbstractContextManager
from functools import lru_cache

from confluent_kafka import Message

from topics.dependencies.state import EnvironmentState
from topics.dependencies.steps import BuildProgress, BuildStep
from topics.kafka.codec import DecodeError, decode, decode_key
from topics.kafka.tail import Tail, TailConsumer, beginning
from topics.settings import KafkaSettings
from topics.views.key_notifier import KeyNotifier

_MOST = 1000
"""Number of builds whose steps are kept in memory, the latest; builders run far fewer at a time."""


class BuildSteps:
    """Read model of the steps of builds, which a thread reads into memory."""

    def __init__(self, settings: KafkaSettings, topic: str, consumer: TailConsumer) -> None:
        """Prepare the read model; `start` begins to read, with the client and thread of `consumer`."""
        self._latest: OrderedDict[str, bytes] = OrderedDict()
        """Latest records by id, in the order in which they were read."""
        self._notifier = KeyNotifier()
        self._tail = Tail(settings, topic, self._take, start_at=beginning, consumer=consumer)

    async def start(self) -> None:
        """Read the steps of the last hour, then each new one."""
        self._notifier.start()
        await self._tail.start()

    async def close(self) -> None:
        """Stop to read `dependencies.steps`."""
        await self._tail.close()

    def of(self, id: str, row: bytes | None) -> BuildStep | None:
        """Return the step of the present attempt to build an environment; None if none is known.

        `row` is the environment's row of `dependencies.store`.
        """
        latest = self._latest.get(id)
        return present_step(row, latest) if row is not None and latest is not None else None

    def subscribe(self, id: str, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set `event` at each step of the build `id`, as `KeyNotifier.subscribe` does."""
        return self._notifier.subscribe(id, event)

    # -- the reader's thread ---------------------------------------------------------------------

    def _take(self, messages: list[Message]) -> None:
        changed: set[str] = set()
        for message in messages:
            try:
                id = decode_key(message)
            except DecodeError:
                continue  # no query can ask for it
            value = message.value() or b""
            self._latest[id] = value.encode() if isinstance(value, str) else value
            self._latest.move_to_end(id)  # after it was set, since `of` may be called at any time
            changed.add(id)
        while len(self._latest) > _MOST:
            self._latest.popitem(last=False)
        self._notifier.notify(changed)


@lru_cache(maxsize=8)  # many clients may wait for the same environment
def present_step(row: bytes, progress: bytes) -> BuildStep | None:
    """Return the step in a record of `dependencies.steps`, if it is of the attempt in the environment's row.

    Return None for an earlier attempt, another builder, an environment that is not being built, and records
    that cannot be read, such as those of a later version.
    """
    try:
        state, latest = decode(EnvironmentState, row), decode(BuildProgress, progress)
    except DecodeError:
        return None
    # The step may be read before the start of its attempt, when the row has no builder yet.
    is_present = latest.attempt == state.attempt and state.builder in {None, latest.builder}
    return latest.step if is_present and not state.final else None
