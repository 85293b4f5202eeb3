"""Routes of the page, whose files `make setup` builds from `ingest/page/`."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from ingest.problems import ProblemError

BUILT = Path(__file__).parents[1] / "page" / "dist"
_INDEX = "index.html"

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # images of programs are fetched with the API key, then shown as blobs
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No script can turn text, such as the output of programs, into markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NO_CACHE = {"Cache-Control": "no-cache"}
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Caching headers of files whose names contain a hash of their content."""


class _Files(StaticFiles):
    """Static files of a folder, with the security headers of the page."""

    def __init__(self, directory: Path, headers: dict[str, str]) -> None:
        super().__init__(
            directory=directory, check_dir=False
        )  # the page may be built while this process runs
        self._headers = _HEADERS | headers

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(self._headers)
        return response


def install(app: FastAPI) -> None:
    """Serve the page at `/`, without an entry in the OpenAPI document."""
    router = APIRouter()
    index = _Files(BUILT, _NO_CACHE)

    @router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def get_page(request: Request) -> Response:
        if not (BUILT / _INDEX).is_file():
            raise ProblemError(
                503,
                "page-not-built",
                "the page is not built: run `make setup` in the checkout, which needs node and npm; "
                "everything else works without it",
            )
        return await index.get_response(_INDEX, request.scope)

    app.include_router(router)
    app.mount("/assets", _Files(BUILT / "assets", _IMMUTABLE), name="assets")
