"""An index that fails: which requests learn of it, and what stays of them."""

import asyncio
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

    async def failure(self, name: str) -> Exception:
        """The error that a request for a package ends with."""
        try:
            (found,) = await self.resolver.pins([name], "a package set")
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
