"""Package sets that are put in force, and environments that are built before a submission needs them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from infra.settings import LocalSettings
from nix.errors import CacheError
from nix.package_set import load, refresh
from nix.settings import NixSettings
from topics.catalogue import Catalogue
from topics.dependencies import dependencies_id
from topics.dependencies.facts import FACTS, Requested
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, decode, encode, encode_fact
from topics.kafka.scan import read_to_end
from topics.request.languages import chosen
from topics.request.limits import DependenciesLimits
from topics.request.model import BASE, Dependencies
from topics.request.parsing import field_errors
from topics.settings import KafkaSettings
from topics.submissions.acceptance import SYSTEM
from topics.times import now
from topics.views.package_sets import DEBIAN, PackageSetInForce


class EnvironmentsFileError(Exception):
    """A file does not list dependencies. The message has the place and the reason."""


def refresh_package_set(
    kafka: KafkaSettings, topics: Catalogue, nix: NixSettings, progress: Callable[[str], None]
) -> str:
    """Make a package set of the distribution as it is now, put it in force, and return its pin.

    Raises:
        CacheError: it cannot be made on this machine.
        KafkaException: the broker did not acknowledge it.
    """
    made = refresh(nix, progress)
    in_force = PackageSetInForce(name=DEBIAN, pin=made.pin, index_digest=made.index_digest, created_at=now())
    headers = cloud_event("envicutor.package_set.refreshed.v1", made.pin, DEBIAN, "packages")
    _produce(kafka, Record(topics.package_sets.name, DEBIAN.encode(), encode(in_force), headers))
    return made.pin


def pin_in_force(kafka: KafkaSettings, topics: Catalogue) -> str | None:
    """Return the pin of the package set in force, or None if there is none yet.

    Raises:
        KafkaException: the broker does not answer.
    """
    pin = None
    for message in read_to_end(kafka, topics.package_sets.name):
        pin = decode(PackageSetInForce, message.value()).pin
    return pin


def ensure_package_set(
    kafka: KafkaSettings, topics: Catalogue, nix: NixSettings, progress: Callable[[str], None]
) -> str:
    """Return the pin in force. Make a package set if there is none, or if this host has lost it.

    Raises:
        CacheError: a package set cannot be made on this machine.
        KafkaException: the broker does not answer.
    """
    pin = pin_in_force(kafka, topics)
    try:
        if pin is not None:
            load(nix, pin)
            return pin
    except CacheError as error:
        progress(str(error))
    return refresh_package_set(kafka, topics, nix, progress)


def request_environments(
    kafka: KafkaSettings, topics: Catalogue, pin: str, wanted: Iterable[Dependencies]
) -> list[str]:
    """Request environments and return their ids. Each environment is built once, however often requested.

    Raises:
        KafkaException: the broker does not answer.
    """
    requests = {
        dependencies_id(dependencies, pin, SYSTEM): Requested(
            dependencies=dependencies, package_set=pin, system=SYSTEM, limits=DependenciesLimits()
        )
        for dependencies in wanted
    }
    topic = topics.dependencies.events.name
    _produce(kafka, *(encode_fact(topic, id, fact, FACTS, "operator") for id, fact in requests.items()))
    return list(requests)


def prebuilt_environments(settings: LocalSettings) -> tuple[Dependencies, ...]:
    """Return the environments that are built before a submission needs them: the base, and those of settings.

    Raises:
        EnvironmentsFileError: the list of `prebuild` cannot be read.
    """
    languages = [preset.dependencies for preset in chosen(settings.languages)]
    listed = () if settings.prebuild is None else read_environments(settings.prebuild)
    return (BASE, *languages, *listed)


def read_environments(file: Path) -> tuple[Dependencies, ...]:
    """Read a JSON list of dependencies in a request's form: `[{"packages": ["python3"]}, {"nix": "…"}]`.

    Raises:
        EnvironmentsFileError: the file cannot be read, or is no such list.
    """
    try:
        return TypeAdapter(tuple[Dependencies, ...]).validate_json(file.read_bytes())
    except OSError as error:
        raise EnvironmentsFileError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        errors = field_errors(error, Dependencies)
        raise EnvironmentsFileError("; ".join(f"{file}: {e}" for e in errors)) from None


def _produce(kafka: KafkaSettings, *records: Record) -> None:
    producer = EventProducer(kafka, message_timeout_ms=30_000)
    try:
        for acknowledgement in [producer.produce(record) for record in records]:
            acknowledgement.result()
    finally:
        producer.close()
