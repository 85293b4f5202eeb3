"""Names of package sets, and the records of the topic that have them."""

import json

import pytest

from topics.kafka.codec import encode
from topics.request.errors import InvalidRequestError
from topics.request.limits import MiB
from topics.request.package_sets import OfferedPackageSets, UnknownPackageSetError
from topics.request.parsing import parse_request
from topics.views.package_sets import DEBIAN, PackageSetInForce, named_sets

OFFERED = OfferedPackageSets({"debian-13": "pin-13", "debian-12": "pin-12"})


def record(name: str, pin: str, *offered: str) -> PackageSetInForce:
    return PackageSetInForce(name=name, pin=pin, index_digest="d", created_at="now", offered=offered)


def test_the_first_name_is_the_default() -> None:
    assert OFFERED.default == "debian-13"
    assert [OFFERED.pin(name) for name in (None, "debian-13", "debian-12")] == ["pin-13", "pin-13", "pin-12"]


def test_an_unknown_name_is_refused_with_the_names_that_are_offered() -> None:
    message = "there is no package set 'sid'; offered: debian-13, debian-12"
    with pytest.raises(UnknownPackageSetError) as error:
        OFFERED.pin("sid")
    assert str(error.value) == message
    with pytest.raises(InvalidRequestError) as refused:
        OFFERED.pin_of_request("sid")
    assert [(wrong.field, wrong.message) for wrong in refused.value.errors] == [("package_set", message)]


def test_the_record_of_an_earlier_version_is_the_default_set() -> None:
    earlier = record(DEBIAN, "pin")
    assert named_sets({DEBIAN: earlier}.get) == {DEBIAN: earlier}
    assert set(json.loads(encode(earlier))) == {"name", "pin", "index_digest", "created_at"}
    assert named_sets(lambda _: None) == {}


def test_the_default_set_s_record_has_the_names_that_are_offered() -> None:
    records = {
        DEBIAN: record(DEBIAN, "pin-13", "debian-13", "debian-12"),
        "debian-12": record("debian-12", "pin-12"),
        "debian-13": record("debian-13", "older"),
        "debian-11": record("debian-11", "pin-11"),
    }
    assert [*named_sets(records.get).items()] == [
        ("debian-13", record("debian-13", "pin-13")),
        ("debian-12", record("debian-12", "pin-12")),
    ]


def test_requests_without_a_package_set_have_the_bytes_that_they_had() -> None:
    request, _ = parse_request(b'{"run": "true"}', MiB)
    assert "package_set" not in json.loads(request.model_dump_json())
    named, _ = parse_request(b'{"run": "true", "package_set": "debian-13"}', MiB)
    assert json.loads(named.model_dump_json())["package_set"] == "debian-13"


@pytest.mark.parametrize("name", ["", "Debian 13", "debian-13/main", "d" * 33])
def test_a_name_is_short_and_plain(name: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_request(json.dumps({"run": "true", "package_set": name}).encode(), MiB)
    assert [error.field for error in refused.value.errors] == ["package_set"]
