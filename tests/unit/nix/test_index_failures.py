"""An index that fails: which requests learn of it, and what stays of them."""

import asyncio
import time
from pathlib import Path
from traceback import walk_tb

import httpx
import pytest

from nix.errors import CacheError, DependenciesError
from nix.registries import latest
from nix.registries.latest import LatestVersions
from nix.registries.listing import WheelTarget
from nix.settings import NixSettings

TARGET = WheelTarget("3.11.2", "2.36", "x86_64")
Reaction = int | type[httpx.TransportError]


class Index:
    """An index that has a==1.0 and b==1.0, and fails for a."""

    def __init__(self, for_a: Reaction) -> None:
        self.for_a = for_a
        self.asked: list[str] = []
        self.resolver = LatestVersions(NixSettings(pypi_index="https://127.0.0.1/simple"))
        self.resolver._http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.split("/")[2]
        self.asked.append(name)
        if name == "a" and not isinstance(self.for_a, int):
            raise self.for_a("")
        status = self.for_a if name == "a" and isinstance(self.for_a, int) else 200
        headers = {"Location": "https://127.0.0.2/"} if status == 301 else {}
        link = f'<a href="{name}-1.0-py3-none-any.whl">'
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(link.encode()))

    async def pin(self, name: str) -> str | DependenciesError:
        (found,) = await self.resolver.pins([name], "a package set")
        return found

    async def failure(self, name: str) -> Exception:
        """The error that a request for a package ends with."""
        try:
            found = await self.pin(name)
        except CacheError as error:
            return error
        assert isinstance(found, DependenciesError)
        return found


@pytest.fixture(autouse=True)
def _package_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "target_of", lambda *_: TARGET)


@pytest.mark.parametrize("reaction", [503, 403, 404, httpx.ConnectError])
def test_each_request_has_an_error_of_its_own(reaction: Reaction) -> None:
    async def scenario() -> list[Exception]:
        index = Index(reaction)
        return [await index.failure("a") for _ in range(3)]

    errors = asyncio.run(scenario())
    assert len({str(error) for error in errors}) == 1
    assert len({id(error) for error in errors}) == 3
    frames = [len(list(walk_tb(error.__traceback__))) for error in errors]
    assert frames == frames[:1] * 3, "an error holds the frames of earlier requests"


@pytest.mark.parametrize("reaction", [403, 451, 301, 429, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_a_failure_for_one_project_is_not_that_of_others(reaction: Reaction) -> None:
    async def scenario() -> None:
        index = Index(reaction)
        for _ in range(2):
            assert str(await index.failure("a")).startswith("the index of PyPI packages failed for a: ")
        assert await index.pin("b") == "b==1.0"
        assert index.asked == ["a", "b"], "the failure was not kept"

    asyncio.run(scenario())


@pytest.mark.parametrize("reaction", [500, 503, httpx.ConnectError, httpx.ConnectTimeout])
def test_an_index_that_failed_is_not_asked_for_others(reaction: Reaction) -> None:
    async def scenario() -> None:
        index = Index(reaction)
        failed = await index.failure("a")
        assert str(failed).startswith("the index of PyPI packages failed: ")
        assert str(await index.failure("b")) == str(failed)
        assert index.asked == ["a"]

    asyncio.run(scenario())


def test_a_project_that_waited_for_others_is_asked_for_again() -> None:
    async def scenario() -> None:
        index = Index(httpx.PoolTimeout)
        assert "busy" in str(await index.failure("a"))
        index.for_a = 200
        assert await index.pin("a") == "a==1.0"

    asyncio.run(scenario())


def test_projects_that_answer_too_late_do_not_fail_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        index = Index(200)
        never = httpx.AsyncClient(transport=httpx.MockTransport(_never))
        index.resolver._http, working = never, index.resolver._http
        monkeypatch.setattr(latest, "ANSWER_S", 0.05)
        assert "did not answer" in str(await index.failure("a"))
        monkeypatch.setattr(latest, "ANSWER_S", 30.0)
        index.resolver._http = working
        assert await index.pin("b") == "b==1.0"

    asyncio.run(scenario())


async def _never(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def test_the_time_for_the_package_set_is_not_that_of_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_cache: Path, _binary_cache: Path | None, _package_set: str) -> WheelTarget:
        time.sleep(1.0)
        return TARGET

    monkeypatch.setattr(latest, "target_of", slow)
    monkeypatch.setattr(latest, "ANSWER_S", 0.5)
    assert asyncio.run(Index(200).pin("a==1.0")) == "a==1.0"
