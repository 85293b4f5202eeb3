"""What happens to every request: it gets an id, is measured, and must be meant for us."""

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

_FAULT = ProblemError(
    500, "internal-error", f"a fault of this server, whose log tells more beside the {REQUEST_ID}: try again"
)


class Observed:
    """Gives each request an id (the client's own, if it is one), and tells metrics and log how it went."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
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
            log.exception("a fault of ours, request %s", id)
            if answered:
                raise
            await response(_FAULT)(scope, receive, send_with_id)
        finally:
            taken_s = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "(none)")
            self._metrics.observe(scope["method"], route, status, taken_s)
            told = status >= 400 and route != "/ready"  # which is asked again and again
            level = logging.WARNING if status == 500 else logging.INFO if told else logging.DEBUG
            log.log(level, "%s %s: %d after %.3f s, request %s", scope["method"], route, status, taken_s, id)


class HostChecked:
    """Answers only who asked for us by a name of ours.

    A page elsewhere may have its own name lead to this machine (DNS rebinding): its requests come from a
    browser that takes us for that page, and say so in Host.
    """

    def __init__(self, app: ASGIApp, settings: IngestSettings) -> None:
        self._app = app
        self._names = {"localhost", *settings.http_names}
        self._checks = is_loopback(settings.http_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http" and self._checks:
            hosts = Headers(scope=scope).getlist("host") or [""]
            foreign = next((host for host in hosts if not self._is_ours(host)), None)
            if foreign is not None:
                detail = (
                    f"the Host {foreign[:100]!r} is not of this machine: ask for localhost, or let "
                    "ENVICUTOR_HTTP_NAMES have it"
                )
                await response(ProblemError(421, "misdirected", detail))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["address"] or found["name"].lower()
        return name in self._names or is_loopback(name)


class ProxiesRefused:
    """Refuses requests that a proxy passed on, for a server without API keys.

    To this server such a request comes from the address of the proxy, which is often this machine. So without
    API keys a proxy opens to its network what was meant for accounts of this machine.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request that has a header of proxies, or pass it on."""
        header = next(filter(_is_of_proxies, (name for name, _ in scope.get("headers", ()))), None)
        if scope["type"] != "http" or header is None:
            await self._app(scope, receive, send)
            return
        detail = (
            f"the header {header[:100].decode('latin-1')!r} says that a proxy passed this request on, and "
            "without API keys everybody behind it could run programs here: let the operator set "
            "ENVICUTOR_HTTP_KEYS=true, or ENVICUTOR_HTTP_OPEN=true if that is intended"
        )
        await response(ProblemError(403, "proxied", detail))(scope, receive, send)


def _is_of_proxies(header: bytes) -> bool:
    return header in _OF_PROXIES or header.startswith(_OF_PROXIES_PREFIX)
