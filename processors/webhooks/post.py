"""One delivery attempt: a POST to a permitted address, within five seconds."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx

from processors.webhooks.addresses import ForbiddenError, permitted
from topics.request.callback_urls import Target, host_and_port

TIMEOUT_S = 5.0
"""Limit on a whole attempt, from name resolution to the response."""
ANSWER_BYTES = 64 * 1024
"""Bytes of a response's body that are read at most."""
_SHOWN = 200
"""Characters of a response or an error that appear in logs and dead letters."""

Resolve = Callable[[str, int], Awaitable[list[str]]]


class NotDeliveredError(Exception):
    """The receiver did not accept the webhook; the message gives its response or the error."""


class Poster:
    """HTTP client that connects to the very address that it checked.

    A name is resolved once for each attempt, because a second resolution may give another address.
    """

    def __init__(
        self, allowed: Collection[str], ca_file: Path | None, resolve: Resolve | None = None
    ) -> None:
        """Open a client.

        Args:
            allowed: hosts and ports with addresses that are not public, see `webhook_allow`.
            ca_file: PEM file of the authority of receivers' certificates; None for the machine's authorities.
            resolve: resolver from host and port to addresses; the system's by default.
        """
        self._allowed, self._resolve = allowed, resolve or _resolve
        self._http = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=ca_file),
            trust_env=False,  # a proxy would resolve names itself
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # receivers must not see each other's
            # A connection belongs to one host name; another name may have the same address.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Close the client and all its connections."""
        await self._http.aclose()

    async def post(self, target: Target, body: bytes, headers: Mapping[str, str], tries: int) -> None:
        """Send a webhook to one of the target's addresses; each of the `tries` takes the next address.

        Raises:
            NotDeliveredError: the receiver did not accept it in time, or no address is permitted.
        """
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        try:
            status, text = await self._post(target, body, headers, tries, deadline)
        except TimeoutError:
            raise NotDeliveredError(f"no answer within {TIMEOUT_S:g} s") from None
        except ForbiddenError as error:
            raise NotDeliveredError(str(error)) from None
        except Exception as error:  # a receiver can make libraries raise anything
            raise NotDeliveredError(f"{type(error).__name__}: {error}"[:_SHOWN]) from None
        if not 200 <= status < 300:
            followed = "; redirects are not followed" if 300 <= status < 400 else ""
            raise NotDeliveredError(f"the answer was {status}{followed}: {text!r}")

    async def _post(
        self, target: Target, body: bytes, headers: Mapping[str, str], tries: int, deadline: float
    ) -> tuple[int, str]:
        """Return the status of the response and the beginning of its body."""
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
        url = f"{target.scheme}://{host_and_port(address, target.port)}{target.path}"
        by_name = {"Host": target.authority, "User-Agent": "Envicutor", "Accept-Encoding": "identity"}
        extensions = {} if target.host == address else {"sni_hostname": target.host}
        return self._http.stream(
            "POST", url, content=body, headers={**headers, **by_name}, extensions=extensions, timeout=None
        )


async def _beginning(answer: httpx.Response, deadline: float) -> str:
    """Return the beginning of the body, for logs. Errors are ignored: the status decides."""
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
