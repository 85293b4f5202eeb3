"""Package sets that an operator puts in force, on an empty log and on that of an earlier version."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.package_sets import (
    ensure_package_sets,
    pin_in_force,
    refresh_package_sets,
    sets_in_force,
)
from nix import apt
from nix.errors import CacheError
from nix.package_set import load
from nix.settings import NixSettings
from tests.support.submissions import package_set
from tests.system.nix.archives import deb
from tests.system.nix.repository import Repository, repository
from tests.unit.nix.packages import paragraph, write_package_set
from topics.catalogue import Catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings

DEADLINE_S = 60.0
HOST = apt.host_set()


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that is open to apt's user, as pytest's own are not."""
    root = Path(tempfile.mkdtemp(prefix="envicutor-sets-"))
    root.chmod(0o755)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def served(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A repository, which is also the only one that the host's apt knows."""
    with repository(root / "repository") as served:
        served.publish([("p0", deb([]))])
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


def nix(root: Path, served: Repository, *names: str) -> NixSettings:
    return NixSettings(
        cache_dir=root / "cache",
        binary_cache_dir=None,
        package_sets=names,
        package_set_sources={"other": served.sources},
    )


def test_the_sets_of_the_settings_are_in_force_by_name(
    settings: KafkaSettings, topics: Catalogue, root: Path, served: Repository
) -> None:
    both = nix(root, served, HOST, "other")
    default = ensure_package_sets(settings, topics, both, print)
    found = sets_in_force(settings, topics)
    assert [*found] == [HOST, "other"]
    assert pin_in_force(settings, topics) == default == found[HOST].pin
    assert [load(both, record.pin).set.name for record in found.values()] == [HOST, "other"]
    assert found["other"].pin.startswith("other-2000-01-01-")
    records = len(list(read_to_end(settings, topics.package_sets.name)))
    assert ensure_package_sets(settings, topics, both, print) == default
    assert len(list(read_to_end(settings, topics.package_sets.name))) == records

    other_first = nix(root, served, "other", HOST)
    assert refresh_package_sets(settings, topics, other_first, print, only="other") == {
        "other": found["other"].pin
    }
    assert [*sets_in_force(settings, topics)] == ["other", HOST]
    assert sets_in_force(settings, topics)[HOST] == found[HOST]
    ensure_package_sets(settings, topics, nix(root, served), print)
    assert [*sets_in_force(settings, topics)] == [HOST]


def test_the_set_of_an_earlier_version_stays_in_force_under_the_host_s_name(
    settings: KafkaSettings, topics: Catalogue, tmp_path: Path
) -> None:
    producer = EventProducer(settings)
    producer.produce(package_set(topics)).result(DEADLINE_S)
    producer.close()
    write_package_set(tmp_path, "pin", paragraph("p0"))
    assert [*sets_in_force(settings, topics)] == ["debian"]
    assert ensure_package_sets(settings, topics, NixSettings(cache_dir=tmp_path), print) == "pin"
    assert {name: record.pin for name, record in sets_in_force(settings, topics).items()} == {HOST: "pin"}


def test_a_set_that_cannot_be_made_changes_nothing(
    settings: KafkaSettings, topics: Catalogue, root: Path, served: Repository
) -> None:
    default = ensure_package_sets(settings, topics, nix(root, served, HOST), print)
    with pytest.raises(CacheError, match="no sources of the package set debian-99"):
        refresh_package_sets(settings, topics, nix(root, served, "debian-99", HOST), print)
    assert {name: record.pin for name, record in sets_in_force(settings, topics).items()} == {HOST: default}


def test_lists_that_are_not_signed_are_refused(root: Path, served: Repository) -> None:
    trusted = served.sources.read_text()
    served.sources.write_text(trusted.replace("[trusted=yes] ", ""))
    with pytest.raises(CacheError, match="is not signed"), apt.updated(nix(root, served), "other"):
        pass
