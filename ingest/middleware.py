"""Middleware for every request: request ids, metrics and log, checks of `Host` and of proxies."""

import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.metrics import Metrics
from ingest.problems import ProblemError, response
from ingest.settings import IngestSettings, is_loopback
from topics.kafka.codec import unique

log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?")
_OF_PROXIES = frozenset({b"forwarded", b"via", b"x-real-ip"})
_OF_PROXIES_PREFIX = b"x-forwarded-"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_INTERNAL_ERROR = ProblemError(
    500,
    "internal-error",
    f"internal error: try again; the log of the server has details under the {REQUEST_ID}",
)


class Observed:
    """Middleware that gives each request an id, and records its result in metrics and log.

    The client's own `X-Request-Id` is kept if it is well-formed.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, and answer 500 if the application raises before its response starts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        id = given if _REQUEST_ID.fullmatch(given) else unique()
        started, status, answered = time.perf_counter(), 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                MutableHeaders(scope=message)[REQUEST_ID] = id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("internal error in request %s", id)
            if answered:
                raise
            await response(_INTERNAL_ERROR)(scope, receive, send_with_id)
        finally:
            taken_s = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "(none)")
            self._metrics.observe(scope["method"], route, status, taken_s)
            noteworthy = status >= 400 and route != "/ready"  # probes poll `/ready`, and 503 is normal there
            level = logging.WARNING if status == 500 else logging.INFO if noteworthy else logging.DEBUG
            log.log(level, "%s %s: %d after %.3f s, request %s", scope["method"], route, status, taken_s, id)


class HostChecked:
    """Middleware that refuses requests whose `Host` is not a name of this server.

    A page of another origin may point its own host name to this machine (DNS rebinding). The browser then
    treats this server as that origin, and sends the page's host name in `Host`.
    """

    def __init__(self, app: ASGIApp, settings: IngestSettings) -> None:
        self._app = app
        self._names = {"localhost", *settings.http_names}
        self._checks = is_loopback(settings.http_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421 for a foreign `Host` on a loopback address, or forward the request."""
        if scope["type"] == "http" and self._checks:
            hosts = Headers(scope=scope).getlist("host") or [""]
            foreign = next((host for host in hosts if not self._is_own_name(host)), None)
            if foreign is not None:
                detail = (
                    f"the Host {foreign[:100]!r} is not a name of this server: use localhost, or add "
                    "the name to ENVICUTOR_HTTP_NAMES"
                )
                await response(ProblemError(421, "misdirected", detail))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_own_name(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["address"] or found["name"].lower()
        return name in self._names or is_loopback(name)


class ProxiesRefused:
    """Middleware that refuses requests that a proxy forwarded, for a server without API keys.

    Such a request has the address of the proxy, which is often this machine. Without API keys a proxy would
    therefore give its whole network the access that accounts of this machine have.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to a request with a header that proxies add, or forward it."""
        header = next(filter(_is_of_proxies, (name for name, _ in scope.get("headers", ()))), None)
        if scope["type"] != "http" or header is None:
            await self._app(scope, receive, send)
            return
        detail = (
            f"the header {header[:100].decode('latin-1')!r} shows that a proxy forwarded this request. "
            "Without API keys all clients of the proxy could run programs here: the operator must set "
            "ENVICUTOR_HTTP_KEYS=true, or ENVICUTOR_HTTP_OPEN=true if that is intended"
        )
        await response(ProblemError(403, "proxied", detail))(scope, receive, send)


def _is_of_proxies(header: bytes) -> bool:
    return header in _OF_PROXIES or header.startswith(_OF_PROXIES_PREFIX)
