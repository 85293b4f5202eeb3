"""What happens to every request, whatever the application does with it."""

import asyncio
import logging

import httpx
import pytest
from fastapi import FastAPI

from ingest.metrics import Metrics
from ingest.middleware import REQUEST_ID, Observed
from ingest.settings import is_loopback

APP = FastAPI()
METRICS = Metrics()
APP.add_middleware(Observed, metrics=METRICS)


@APP.get("/faulty/{id}")
async def faulty(id: str) -> None:
    raise RuntimeError(id)


def get(path: str) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(APP)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers={REQUEST_ID: "mine"})

    return asyncio.run(request())


def test_a_fault_of_ours_is_a_problem_and_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = get("/faulty/1")
    assert (answer.status_code, answer.headers[REQUEST_ID]) == (500, "mine")
    assert answer.json()["type"].endswith("/problems/internal-error")
    assert "RuntimeError: 1" in caplog.text
    assert "request mine" in caplog.text


def test_routes_are_counted_rather_than_paths() -> None:
    get("/faulty/1")
    get("/faulty/2")
    get("/nowhere/3")
    told = asyncio.run(METRICS.text()).decode()
    assert 'envicutor_http_requests_total{method="GET",route="/faulty/{id}",status="500"}' in told
    assert 'route="(none)",status="404"' in told
    assert "/nowhere" not in told


@pytest.mark.parametrize("name", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_addresses_of_this_machine_alone(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize("name", ["0.0.0.0", "10.0.0.1", "", "127.0.0.1.example"])
def test_addresses_that_others_reach(name: str) -> None:
    assert not is_loopback(name)
