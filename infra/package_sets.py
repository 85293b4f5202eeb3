"""Package sets that are put in force, and environments that are built before a submission needs them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from infra.settings import LocalSettings
from nix.apt import host_set
from nix.errors import CacheError
from nix.package_set import load, refresh
from nix.settings import NixSettings
from topics.catalogue import Catalogue
from topics.dependencies import dependencies_id
from topics.dependencies.facts import FACTS, Requested
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, decode, decode_key, encode, encode_fact
from topics.kafka.scan import read_to_end
from topics.request.languages import chosen
from topics.request.limits import DependenciesLimits
from topics.request.model import BASE, Dependencies
from topics.request.parsing import field_errors
from topics.request.pins import is_pin
from topics.settings import KafkaSettings
from topics.submissions.acceptance import SYSTEM
from topics.times import now
from topics.views.package_sets import DEBIAN, PackageSetInForce, named_sets


class EnvironmentsFileError(Exception):
    """A file does not list dependencies. The message has the place and the reason."""


def package_set_names(nix: NixSettings) -> tuple[str, ...]:
    """Return the names of the package sets that requests may give, the default one first."""
    return nix.package_sets or (host_set(),)


def refresh_package_sets(
    kafka: KafkaSettings,
    topics: Catalogue,
    nix: NixSettings,
    progress: Callable[[str], None],
    only: str | None = None,
) -> dict[str, str]:
    """Make the package sets of the settings anew, put them in force, and return their pins by name.

    With `only`, this set alone, and those that were not in force yet. Sets that the settings do not name are
    no longer offered to requests.

    Raises:
        CacheError: one cannot be made on this machine. All are in force as before.
        KafkaException: the broker did not answer.
    """
    names = package_set_names(nix)
    known = sets_in_force(kafka, topics)
    wanted = [name for name in names if only in (None, name) or _known(known, name) is None]
    made = {name: _made(nix, progress, name) for name in wanted}
    kept = {name: found for name in names if name not in made and (found := _known(known, name))}
    _put_in_force(kafka, topics, [(made | kept)[name] for name in names])
    return {name: record.pin for name, record in made.items()}


def sets_in_force(kafka: KafkaSettings, topics: Catalogue) -> dict[str, PackageSetInForce]:
    """Return the package sets that requests may name, the default one first; none if none is in force.

    Raises:
        KafkaException: the broker does not answer.
    """
    records = {
        decode_key(message): decode(PackageSetInForce, message.value())
        for message in read_to_end(kafka, topics.package_sets.name)
    }
    return named_sets(records.get)


def pin_in_force(kafka: KafkaSettings, topics: Catalogue) -> str | None:
    """Return the pin of the default package set, or None if there is none yet.

    Raises:
        KafkaException: the broker does not answer.
    """
    return next((record.pin for record in sets_in_force(kafka, topics).values()), None)


def ensure_package_sets(
    kafka: KafkaSettings, topics: Catalogue, nix: NixSettings, progress: Callable[[str], None]
) -> str:
    """Return the pin of the default package set. Make those that are missing, or that this host has lost.

    Raises:
        CacheError: a package set cannot be made on this machine.
        KafkaException: the broker does not answer.
    """
    names = package_set_names(nix)
    known = sets_in_force(kafka, topics)
    wanted = [_kept(nix, progress, known, name) or _made(nix, progress, name) for name in names]
    if [*known.items()] != [*zip(names, wanted, strict=True)]:
        _put_in_force(kafka, topics, wanted)
    return wanted[0].pin


def _known(known: Mapping[str, PackageSetInForce], name: str) -> PackageSetInForce | None:
    """Return the record of a package set; that of an earlier version stands for the host's own release."""
    earlier = known.get(DEBIAN) if name == host_set() else None
    return known.get(name) or (earlier.replace(name=name) if earlier else None)


def _kept(
    nix: NixSettings, progress: Callable[[str], None], known: Mapping[str, PackageSetInForce], name: str
) -> PackageSetInForce | None:
    """Return the record of a package set, or None if there is none or neither host nor binary cache has it.

    The reason is reported to `progress`.
    """
    found = _known(known, name)
    try:
        if found is not None:
            load(nix, found.pin)
        return found
    except CacheError as error:
        progress(str(error))
        return None


def _made(nix: NixSettings, progress: Callable[[str], None], name: str) -> PackageSetInForce:
    made = refresh(nix, progress, name)
    return PackageSetInForce(name=name, pin=made.pin, index_digest=made.index_digest, created_at=now())


def _put_in_force(kafka: KafkaSettings, topics: Catalogue, sets: Sequence[PackageSetInForce]) -> None:
    """Publish package sets, the default one first in `sets`: a record of each, then that of the default one.

    Earlier versions read the last record alone.
    """
    default = sets[0].replace(name=DEBIAN, offered=tuple(record.name for record in sets))
    _produce(kafka, *(_record(topics, record) for record in (*sets, default)))


def _record(topics: Catalogue, record: PackageSetInForce) -> Record:
    headers = cloud_event("envicutor.package_set.refreshed.v1", record.pin, record.name, "packages")
    return Record(topics.package_sets.name, record.name.encode(), encode(record), headers)


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
    return (BASE, *languages, *_listed(settings.prebuild))


def read_environments(file: Path) -> tuple[Dependencies, ...]:
    """Read a JSON list of dependencies in a request's form: `[{"packages": ["python3"]}, {"nix": "…"}]`.

    Packages of PyPI need a version there.

    Raises:
        EnvironmentsFileError: the file cannot be read, or is no such list.
    """
    try:
        wanted = TypeAdapter(tuple[Dependencies, ...]).validate_json(file.read_bytes())
    except OSError as error:
        raise EnvironmentsFileError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        errors = field_errors(error, Dependencies)
        raise EnvironmentsFileError("; ".join(f"{file}: {e}" for e in errors)) from None
    for requirement in (name for dependencies in wanted for name in dependencies.pypi):
        if not is_pin(requirement):
            raise EnvironmentsFileError(f"{file}: {requirement}: give a version, as in requests==2.32.5")
    return wanted


def _listed(file: Path | None) -> tuple[Dependencies, ...]:
    """Return the dependencies of the file that the setting `prebuild` names, or none without the setting."""
    try:
        return () if file is None else read_environments(file)
    except EnvironmentsFileError as error:
        raise EnvironmentsFileError(f"ENVICUTOR_PREBUILD: {error}") from None


def _produce(kafka: KafkaSettings, *records: Record) -> None:
    producer = EventProducer(kafka, message_timeout_ms=30_000)
    try:
        for acknowledgement in [producer.produce(record) for record in records]:
            acknowledgement.result()
    finally:
        producer.close()
