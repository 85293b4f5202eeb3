"""Where ingest listens, and who may then ask."""

import pytest
from pydantic import ValidationError

from ingest.settings import IngestSettings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "judge.test", ""])
def test_no_open_door_to_other_machines(host: str) -> None:
    with pytest.raises(ValidationError, match=r"ENVICUTOR_HTTP_HOST .* Set ENVICUTOR_HTTP_KEYS=true"):
        IngestSettings(http_host=host)
    assert IngestSettings(http_host=host, http_keys=True).http_host == host


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
