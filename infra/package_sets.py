"""Putting a package set in force, and asking for the environment that every submission shares."""

from collections.abc import Callable

from confluent_kafka import KafkaException

from nix.errors import CacheError
from nix.package_set import load, refresh
from nix.settings import NixSettings
from topics.acceptance import SYSTEM
from topics.catalogue import Catalogue
from topics.clients import EventProducer
from topics.codec import Record, cloud_event, decode, encode, encode_fact
from topics.dependencies import dependencies_id
from topics.dependencies.facts import FACTS, Requested
from topics.leases import PackageSetInForce
from topics.limits import DependenciesLimits
from topics.package_sets import DEBIAN
from topics.reading import read_to_end
from topics.request import BASE
from topics.settings import KafkaSettings
from topics.times import now


def refresh_package_set(
    kafka: KafkaSettings, topics: Catalogue, nix: NixSettings, progress: Callable[[str], None]
) -> str:
    """Make a package set of the distribution as it is now, and put it in force; its pin.

    Raises:
        CacheError: it cannot be made on this machine.
    """
    made = refresh(nix, progress)
    in_force = PackageSetInForce(name=DEBIAN, pin=made.pin, index_digest=made.index_digest, created_at=now())
    headers = cloud_event("envicutor.package_set.refreshed.v1", made.pin, DEBIAN, "packages")
    _produce(kafka, Record(topics.package_sets.name, DEBIAN.encode(), encode(in_force), headers))
    return made.pin


def ensure_package_set(
    kafka: KafkaSettings, topics: Catalogue, nix: NixSettings, progress: Callable[[str], None]
) -> str:
    """The pin in force; a new one where there is none, or where this host has lost it."""
    pin = None
    for message in read_to_end(kafka, topics.package_sets.name):
        pin = decode(PackageSetInForce, message.value()).pin
    try:
        if pin is not None:
            load(nix, pin)
            return pin
    except CacheError as error:
        progress(str(error))
    return refresh_package_set(kafka, topics, nix, progress)


def request_base(kafka: KafkaSettings, topics: Catalogue, pin: str) -> None:
    """Ask for the base environment, which is built once."""
    fact = Requested(dependencies=BASE, package_set=pin, system=SYSTEM, limits=DependenciesLimits())
    id = dependencies_id(BASE, pin, SYSTEM)
    _produce(kafka, encode_fact(topics.dependencies.events.name, id, fact, FACTS, "up"))


def _produce(kafka: KafkaSettings, record: Record) -> None:
    producer = EventProducer(kafka, message_timeout_ms=30_000)
    try:
        producer.produce(record).result()
    except KafkaException as error:
        raise CacheError(f"the broker did not take {record.topic}: {error}") from error
    finally:
        producer.close()
