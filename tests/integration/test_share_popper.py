"""Popping a queue as a share group (an experiment), on a real broker: by several, each record once."""

import time
from collections.abc import Callable, Iterator

import pytest

from processors.work.share_popper import SharePopper
from tests.integration.test_popper import GROUP, Owner, Queue
from tests.support.polling import eventually
from topics.admin import ensure_share_groups
from topics.leases import StopOrder
from topics.reading import read_to_end
from topics.settings import KafkaSettings


@pytest.fixture
def queue(kafka: str, topic_prefix: str) -> Iterator[Queue]:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, queue="share")
    ensure_share_groups(settings, (GROUP,))
    queue = Queue(settings)
    yield queue
    queue.close()


class Popped(Owner):
    """Looks at no offsets, which a share group keeps to itself."""

    def deliver(self, work: StopOrder) -> None:
        self.delivered.append(work.id)


def popper(queue: Queue, owner: Owner, on_death: Callable[[], None]) -> SharePopper[StopOrder]:
    return SharePopper(
        queue.settings,
        queue=queue.name,
        dead_letters=queue.topics.dead_letters.name,
        group=GROUP,
        model=StopOrder,
        owner=owner,
        producer=queue.producer,
        on_death=on_death,
    )


def test_who_has_room_gets_what_waits_and_each_record_is_delivered_once(queue: Queue) -> None:
    full, other = Popped(queue, places=2), Popped(queue)
    full.acknowledged.set()
    other.acknowledged.set()
    deaths: list[str] = []
    first = popper(queue, full, lambda: deaths.append("first"))
    second = popper(queue, other, lambda: deaths.append("second"))
    first.start()
    try:
        queue.put("a", "b")
        eventually(lambda: len(full.delivered) == 2, "the first to be full")
        second.start()
        queue.put("nobody", raw=b"{")
        ids = [f"id-{number}" for number in range(20)]
        queue.put(*ids)
        eventually(lambda: set(ids) <= set(other.delivered), "the other to take all the rest")
        time.sleep(0.5)
    finally:
        first.stop()
        second.stop()
    assert sorted(full.delivered) == ["a", "b"]
    assert sorted(other.delivered) == sorted(ids)
    assert not deaths
    [letter] = read_to_end(queue.settings, queue.topics.dead_letters.name)
    assert letter.key() == b"nobody"
