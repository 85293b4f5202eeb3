"""The configurations of proxies in examples/operate let through what ingest accepts."""

import re
from pathlib import Path

from ingest.settings import IngestSettings
from topics.request.limits import MiB
from topics.request.model import REQUEST_BYTES_CEILING

PROXIES = Path(__file__).parents[3] / "examples" / "operate"
LARGEST_BATCH_BYTES = 4 * REQUEST_BYTES_CEILING


def figure(file: str, name: str, unit: str) -> int:
    found = re.search(rf"^\s*{name} (\d+){unit}\b", (PROXIES / file).read_text(), re.MULTILINE)
    assert found, name
    return int(found[1])


def test_proxies_wait_longer_than_ingest() -> None:
    assert figure("nginx.conf", "proxy_read_timeout", "s") > IngestSettings().wait_timeout_max_s


def test_proxies_leave_it_to_ingest_to_refuse_what_is_too_large() -> None:
    assert figure("nginx.conf", "client_max_body_size", "m") * MiB > LARGEST_BATCH_BYTES
    assert figure("Caddyfile", "max_size", "MiB") * MiB > LARGEST_BATCH_BYTES
