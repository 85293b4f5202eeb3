"""Route of the languages that requests may name."""

from fastapi import APIRouter, Depends

from ingest.access import Access
from ingest.languages import LanguageList, Languages
from ingest.openapi import problems
from ingest.problems import ProblemError
from ingest.settings import IngestSettings
from nix.errors import CacheError


def language_routes(languages: Languages, access: Access, settings: IngestSettings) -> APIRouter:
    """Return the route `GET /languages`."""
    routes = APIRouter(dependencies=[Depends(access.needs())], responses=problems(401, 421, 429, 503))

    @routes.get("/languages", summary="List the languages that requests may name")
    async def get_languages() -> LanguageList:
        """List the presets that `language` of a request may name, with versions, commands and an example.

        A request with such a name and one file is complete. The first submission in a language that is not
        `prebuilt` waits until its environment is installed.
        """
        try:
            return await languages.listed()
        except CacheError as error:
            headers = {"Retry-After": str(settings.retry_after_s)}
            raise ProblemError(503, "unavailable", str(error), headers=headers) from None

    return routes
