"""One try: a POST to an address that was looked at, within five seconds."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx

from processors.webhooks.addresses import ForbiddenError, permitted
from topics.request.callback_urls import Target, place

TIMEOUT_S = 5.0
"""For everything together, from the look-up of the name on."""
ANSWER_BYTES = 64 * 1024
"""So much of an answer's body is read, and no more."""
_SHOWN = 200
"""Characters of an answer or an error that are told to people."""

Resolve = Callable[[str, int], Awaitable[list[str]]]


class NotDeliveredError(Exception):
    """The receiver did not say yes; the message says what it did instead."""


class Poster:
    """Connects to the address that it judged, and asks for nothing twice: a name may change in between."""

    def __init__(
        self, allowed: Collection[str], ca_file: Path | None, resolve: Resolve | None = None
    ) -> None:
        """`ca_file` is who signs receivers' certificates, None for those that the machine trusts."""
        self._allowed, self._resolve = allowed, resolve or _resolve
        self._http = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=ca_file),
            trust_env=False,  # a proxy would connect to whatever it likes
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # what one sets is not another's
            # A connection is for one name: the next one with this address may be another's.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def post(self, target: Target, body: bytes, headers: Mapping[str, str], tries: int) -> None:
        """Send it to one of the target's addresses, to the next one at each of the `tries`.

        Raises:
            NotDeliveredError: see there.
        """
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        try:
            status, text = await self._post(target, body, headers, tries, deadline)
        except TimeoutError:
            raise NotDeliveredError(f"no answer within {TIMEOUT_S:g} s") from None
        except ForbiddenError as error:
            raise NotDeliveredError(str(error)) from None
        except Exception as error:  # what a receiver can make libraries raise has no end
            raise NotDeliveredError(f"{type(error).__name__}: {error}"[:_SHOWN]) from None
        if not 200 <= status < 300:
            followed = "; redirects are not followed" if 300 <= status < 400 else ""
            raise NotDeliveredError(f"the answer was {status}{followed}: {text!r}")

    async def _post(
        self, target: Target, body: bytes, headers: Mapping[str, str], tries: int, deadline: float
    ) -> tuple[int, str]:
        """The answer's status, and how it begins."""
        async with AsyncExitStack() as stack:
            async with asyncio.timeout_at(deadline):
                addresses = await self._resolve(target.host, target.port)
                may = permitted(target.host, addresses, target.port, self._allowed)
                address = may[tries % len(may)]
                answer = await stack.enter_async_context(self._stream(target, address, body, headers))
            return answer.status_code, await _beginning(answer, deadline)

    def _stream(
        self, target: Target, address: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[httpx.Response]:
        url = f"{target.scheme}://{place(address, target.port)}{target.path}"
        by_name = {"Host": target.authority, "User-Agent": "Envicutor", "Accept-Encoding": "identity"}
        extensions = {} if target.host == address else {"sni_hostname": target.host}
        return self._http.stream(
            "POST", url, content=body, headers={**headers, **by_name}, extensions=extensions, timeout=None
        )


async def _beginning(answer: httpx.Response, deadline: float) -> str:
    """Of the body, for people. What it says, or how slowly, does not matter: the status was the answer."""
    read = b""
    with suppress(Exception):
        async with asyncio.timeout_at(deadline):
            async for piece in answer.aiter_raw(chunk_size=4096):
                read += piece
                if len(read) >= ANSWER_BYTES:
                    break
    return read[:_SHOWN].decode(errors="replace")


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
