"""Routes of dependencies and packages."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from ingest.access import Access
from ingest.build_steps import BuildSteps
from ingest.models import Body, EnvironmentShown
from ingest.openapi import problems
from ingest.problems import ProblemError
from ingest.settings import IngestSettings
from nix import search
from nix.errors import CacheError
from nix.settings import NixSettings
from topics.dependencies.state import EnvironmentState
from topics.request.errors import FieldError
from topics.request.model import PACKAGE_SET_PATTERN
from topics.request.package_sets import UnknownPackageSetError
from topics.views.package_sets import PackageSets
from topics.views.view import View

Id = Annotated[
    str,
    Path(
        pattern=r"^[0-9a-f]{1,64}$", description="Id of the dependencies: `dependencies.id` of a submission."
    ),
]


class PackageFound(Body):
    """Package that requests may name."""

    name: str
    """Name that requests use."""
    version: str
    """Version in the package set."""
    description: str
    """Description by the distribution, one line."""


class PackagesPage(Body):
    """Page of the packages that were found, best matches first."""

    package_set: str
    """Pin of the package set that was searched."""
    total: int
    """Number of packages that were found."""
    offset: int
    """Position of the first package of this page, from 0."""
    packages: list[PackageFound]
    """Packages of this page."""


class PackageSearch:
    """Search in the package sets in force, each of which is loaded at its first request."""

    def __init__(self, package_sets: PackageSets, nix: NixSettings) -> None:
        self._package_sets, self._nix = package_sets, nix
        self._lock = asyncio.Lock()
        self._loaded: dict[str, search.Search] = {}
        """Loaded sets in force, by pin."""

    async def find(self, query: str, offset: int, limit: int, name: str | None = None) -> PackagesPage:
        """Search a package set in force, by default the default one.

        Raises:
            UnknownPackageSetError: there is no package set of this name.
            CacheError: no package set is in force yet, or this host does not have it.
        """
        offered = self._package_sets.offered
        if offered is None:
            raise CacheError("no package set is in force yet")
        pin = offered.pin(name)
        async with self._lock:
            self._loaded = {
                pin: loaded for pin, loaded in self._loaded.items() if pin in offered.pins.values()
            }
            if pin not in self._loaded:
                self._loaded[pin] = await asyncio.to_thread(search.load, self._nix, pin)
            loaded = self._loaded[pin]
        page = await asyncio.to_thread(loaded.find, query, offset, limit)
        found = [PackageFound(**asdict(package)) for package in page.packages]
        return PackagesPage(package_set=pin, total=page.total, offset=offset, packages=found)


def _public_row(raw: bytes) -> bytes:
    """Return a row of `dependencies.store` without the API key that requested it, which others may read.

    `waiting` is left out as well, which clients of earlier versions do not know.
    """
    if b'"owner":' not in raw and b'"waiting":' not in raw:  # as in most rows of earlier versions
        return raw
    return EnvironmentState.read(raw).replace(owner="", waiting=False).model_dump_json().encode()


def environment_routes(
    environments: View,
    steps: BuildSteps,
    package_sets: PackageSets,
    access: Access,
    nix: NixSettings,
    settings: IngestSettings,
) -> APIRouter:
    """Return the routes; `environments` is a view of `dependencies.store`."""
    routes = APIRouter(dependencies=[Depends(access.needs())], responses=problems(401, 421, 422, 429, 503))
    packages = PackageSearch(package_sets, nix)

    def unavailable(why: str) -> ProblemError:
        headers = {"Retry-After": str(settings.retry_after_s)}
        return ProblemError(503, "unavailable", why, headers=headers)

    @routes.get(
        "/dependencies/{id}",
        response_model=EnvironmentShown,
        responses=problems(404),
        summary="State of dependencies",
    )
    async def get_dependencies(id: Id) -> Response:
        """Return the state of an environment: whether it is queued, built, installed, failed or gone.

        Its id is `dependencies.id` of a submission that has started. While it is built, `step` has what the
        build does at the moment.
        """
        raw = environments.get(id)
        if raw is not None:
            shown = _public_row(raw)
            if step := steps.of(id, raw):
                shown = EnvironmentShown.read(shown).replace(step=step).model_dump_json().encode()
            return Response(shown, media_type="application/json")
        if not environments.caught_up:
            raise unavailable("the store is still being read")
        raise ProblemError(404, "not-found", f"there are no dependencies {id!r}")

    @routes.get("/packages", summary="Find packages that requests may name")
    async def get_packages(
        q: Annotated[
            str, Query(max_length=200, description="Words that the name or the description must contain.")
        ] = "",
        offset: Annotated[
            int, Query(ge=0, le=1_000_000, description="Packages to skip: `offset + limit` of the last page.")
        ] = 0,
        limit: Annotated[int, Query(ge=1, le=1000, description="Packages on a page, at most.")] = 50,
        package_set: Annotated[
            str | None,
            Query(
                pattern=PACKAGE_SET_PATTERN,
                description="Name of the package set, such as `debian-13`. By default the default one.",
            ),
        ] = None,
    ) -> PackagesPage:
        """Find Debian packages by words of their names and descriptions, the best matches first.

        The names found are those that `dependencies.packages` takes.
        """
        try:
            return await packages.find(q, offset, limit, package_set)
        except UnknownPackageSetError as error:
            errors = [FieldError(field="query.package_set", message=str(error))]
            raise ProblemError(
                422, "invalid-parameters", f"query.package_set: {error}", errors=errors
            ) from None
        except CacheError as error:
            raise unavailable(str(error)) from None

    return routes
