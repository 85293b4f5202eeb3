"""The page: what `make setup` built of `ingest/page/`, served as files."""

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
        "img-src 'self' blob:",  # images that programs made are fetched first, with the key
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Whatever programs print: there is no way for text to become markup.
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
_ASK_AGAIN = {"Cache-Control": "no-cache"}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Of files whose names hold the hash of what is in them."""


class _Files(StaticFiles):
    """Files of a folder, with our headers."""

    def __init__(self, directory: Path, headers: dict[str, str]) -> None:
        super().__init__(directory=directory, check_dir=False)  # it may be built while we run
        self._headers = _HEADERS | headers

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(self._headers)
        return response


def install(app: FastAPI) -> None:
    """Serve the page at `/`; it is no part of the OpenAPI document."""
    router = APIRouter()
    index = _Files(BUILT, _ASK_AGAIN)

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
    app.mount("/assets", _Files(BUILT / "assets", _FOR_EVER), name="assets")
