"""Where ingest listens, and who may then ask."""

import pytest
from pydantic import ValidationError

from ingest.settings import IngestSettings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "judge.test", ""])
def test_no_open_door_to_other_machines(host: str) -> None:
    with pytest.raises(ValidationError, match=r"ENVICUTOR_HTTP_HOST .* Set ENVICUTOR_HTTP_KEYS=true"):
        IngestSettings(http_host=host)
    assert IngestSettings(http_host=host, http_keys=True).http_host == host


def test_no_name_for_other_machines_without_keys() -> None:
    names = ("localhost", "127.0.0.2", "judge.test")
    with pytest.raises(ValidationError, match=r"HTTP_NAMES has 'judge\.test'.* ENVICUTOR_HTTP_OPEN=true"):
        IngestSettings(http_names=names)
    assert IngestSettings(http_names=names[:2]).http_names == names[:2]
    assert IngestSettings(http_names=names, http_keys=True).http_names == names
    open_ones = IngestSettings.model_validate({"http_names": names, "http_open": True})
    assert open_ones.http_names == names


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_where_this_machine_finds_it(host: str, url: str) -> None:
    assert IngestSettings(http_host=host, http_keys=True).url == url
