"""HTTP with API keys behind nginx and Caddy, with the configurations in examples/operate."""

import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import EventSource

from infra.kafka.ports import choose_free_port, is_free
from infra.kafka.tls import Tls, make_tls
from tests.support.polling import eventually
from tests.support.roles import kill, role_environment, start_role
from tests.system.cluster.running import ANSWER_S, Cluster

pytestmark = pytest.mark.xdist_group("cluster")

PROXIES = Path(__file__).parents[3] / "examples" / "operate"
NAME = "judge.example"
START_S = 60.0
NGINX = """daemon off;
user root;
pid {folder}/nginx.pid;
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx;
    proxy_temp_path {folder}/nginx;
    include {folder}/site.conf;
}}
"""
CADDY = """{{
    admin off
    auto_https disable_redirects
    storage file_system {folder}/caddy
}}
"""


def replaced(text: str, replacements: dict[str, str]) -> str:
    """The text with every replacement made, each of which must be possible."""
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(folder: Path, port: int, ingest_port: int, tls: Tls) -> list[str]:
    """Write a configuration; the command that starts nginx with it."""
    ours = {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "127.0.0.1:8000": f"127.0.0.1:{ingest_port}",
        "/etc/ssl/judge.example/fullchain.pem": str(tls.broker_file),
        "/etc/ssl/judge.example/key.pem": str(tls.broker_file),
    }
    (folder / "site.conf").write_text(replaced((PROXIES / "nginx.conf").read_text(), ours))
    main = folder / "nginx.conf"
    main.write_text(NGINX.format(folder=folder))
    return ["nginx", "-e", str(folder / "error.log"), "-c", str(main)]


def caddy(folder: Path, port: int, ingest_port: int, tls: Tls) -> list[str]:
    """Write a configuration; the command that starts Caddy with it."""
    address = f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {tls.broker_file} {tls.broker_file}"
    ours = {f"{NAME} {{": address, "127.0.0.1:8000": f"127.0.0.1:{ingest_port}"}
    main = folder / "Caddyfile"
    site = replaced((PROXIES / "Caddyfile").read_text(), ours)
    main.write_text(CADDY.format(folder=folder) + site)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(main)]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-proxies-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ingest_port(cluster: Cluster, folder: Path) -> Iterator[int]:
    """One more ingest node of the system: it requires keys, and a proxy may forward requests to it."""
    port = choose_free_port()
    settings = {"http_port": port, "http_keys": True, "http_names": [NAME], "data_dir": folder / "data"}
    process = start_role(
        "ingest", environment=role_environment(cluster.kafka, **settings), log=folder / "ingest.log"
    )
    try:
        yield port
    finally:
        kill([process])


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        eventually(lambda: not is_free(port), f"{command[0]} listens: {log}", START_S)
        yield
    finally:
        process.terminate()
        process.wait(START_S)


@pytest.fixture(scope="module")
def key(cluster: Cluster, folder: Path) -> str:
    command = start_role(
        *("keys", "create", "course"),
        environment=role_environment(cluster.kafka, server="http://127.0.0.1:1"),
        log=folder / "key",
    )
    assert command.wait(START_S) == 0
    return (folder / "key").read_text().splitlines()[-1]


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, folder: Path, ingest_port: int) -> Iterator[httpx.Client]:
    """A client of a proxy, without a key."""
    port = choose_free_port()
    tls = make_tls(folder, None)
    trusted = ssl.create_default_context(cafile=str(tls.ca_file))
    with ExitStack() as stack:
        command = request.param(folder, port, ingest_port, tls)
        stack.enter_context(running(command, port, folder / "proxy.log"))
        client = httpx.Client(
            base_url=f"https://127.0.0.1:{port}",
            headers={"Host": NAME},
            verify=trusted,
            timeout=ANSWER_S,
            trust_env=False,
        )
        stack.enter_context(client)
        eventually(lambda: client.get("/ready").is_success, "the node is ready", START_S)
        yield client


def test_requests_and_waits_and_streams_through_a_proxy(
    proxy: httpx.Client, key: str, ingest_port: int
) -> None:
    refused = proxy.post("/submissions", json={"run": "true"})
    assert (refused.status_code, refused.json()["status"]) == (401, 401)
    proxy.headers["Authorization"] = f"Bearer {key}"

    large = {"files": [{"name": "a", "content": "a" * 750_000}], "run": "wc -c a"}
    batch = proxy.post("/submissions/batch", json=[large, large])
    assert batch.status_code == 200, batch.text
    assert [result["status"] for result in batch.json()["results"]] == [202, 202]

    waited = proxy.post("/submissions", json={"run": "sleep 2; echo done"}, params={"wait": "true"})
    assert (waited.status_code, waited.json()["run"][0]["stdout"]) == (200, "done\n")

    limits = {"run": {"wall_time_s": 60}}
    id = proxy.post("/submissions", json={"run": "echo first; sleep 50", "limits": limits}).json()["id"]
    names = []
    with proxy.stream("GET", f"/submissions/{id}/events") as response:
        for event in EventSource(response).iter_sse():
            names.append(event.event)
            if event.event == "output":
                assert proxy.get(f"/submissions/{id}").json()["finished_at"] is None
                assert proxy.delete(f"/submissions/{id}").is_success
    assert names[-2:] == ["cancelled", "end"]
    assert "output" in names

    too_large = proxy.post(
        "/submissions", content=b" " * (1 << 24), headers={"Content-Type": "application/json"}
    )
    assert too_large.status_code == 413
    assert too_large.json()["status"] == 413, "Envicutor itself refuses it, not the proxy"
