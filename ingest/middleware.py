"""What happens to every request: it gets an id, is measured, and must be meant for us."""

import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.metrics import Metrics
from ingest.problems import ProblemError, response
from ingest.settings import IngestSettings, is_loopback
from topics.codec import unique

log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
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
            host = Headers(scope=scope).get("host", "")
            if not self._is_ours(_name(host)):
                detail = (
                    f"the Host {host[:100]!r} is not of this machine: ask for localhost, or let "
                    "ENVICUTOR_HTTP_NAMES have it"
                )
                await response(ProblemError(421, "misdirected", detail))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, name: str) -> bool:
        return name in self._names or is_loopback(name)


def _name(host: str) -> str:
    """Without the port; without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
