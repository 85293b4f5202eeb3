"""Store processors produce the same bytes for the same events as those that were recorded."""

from confluent_kafka import Message

from processors.store.partition import Partition
from tests.support.recorded_folds import CATALOGUE, STORES, events, produced
from tests.support.recorded_log import FOLDS, read
from topics.kafka.codec import headers

Written = tuple[object, ...]


def test_records_are_those_of_the_recording() -> None:
    partitions = {topic: Partition(store) for topic, store in STORES.items()}
    made: list[Written] = []
    recorded = [written(message) for message in read(FOLDS)]
    for message in read(FOLDS):
        if partition := partitions.get(message.topic() or ""):
            made += [written(message), *(tuple(record) for record in produced(partition, message))]
    assert made == recorded


def written(message: Message) -> Written:
    return message.topic(), message.key(), message.value(), headers(message)


def test_events_are_those_of_the_recording() -> None:
    recorded = [written(message) for message in read(FOLDS) if message.topic() in STORES]
    assert recorded == [written(event) for event in events()]


def test_records_of_every_kind_are_recorded() -> None:
    families = (CATALOGUE.submissions, CATALOGUE.dependencies)
    ours = {topic.name for family in families for topic in (family.events, family.store, family.queue)}
    others = {CATALOGUE.stops.name, CATALOGUE.webhooks.name, CATALOGUE.dead_letters.name, "replies.a"}
    assert {message.topic() for message in read(FOLDS)} == ours | others
