"""What HTTP tells about dependencies and packages."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from ingest.problems import ProblemError
from nix import search
from nix.errors import CacheError
from nix.settings import NixSettings
from topics.dependencies.state import EnvironmentState
from topics.package_sets import PackageSets
from topics.view import View

Id = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$", description="As answers give it: `dependencies.id`.")]
_RETRY_AFTER = {"Retry-After": "2"}


class PackageFound(BaseModel):
    """A name that requests may use."""

    name: str
    version: str
    description: str


class PackagesPage(BaseModel):
    """Some of the packages that were found, the best matches first."""

    package_set: str
    total: int
    offset: int
    packages: list[PackageFound]


class Packages:
    """The names of the package set in force, read when somebody asks for the first time."""

    def __init__(self, package_sets: PackageSets, settings: NixSettings) -> None:
        self._package_sets, self._settings = package_sets, settings
        self._lock = asyncio.Lock()
        self._pin: str | None = None
        self._search = search.Search(())

    async def find(self, query: str, offset: int, limit: int) -> PackagesPage:
        """Search.

        Raises:
            ProblemError: 503 where no package set is in force, or this host has it not.
        """
        in_force = self._package_sets.in_force
        if in_force is None:
            raise ProblemError(503, "unavailable", "no package set is in force yet", headers=_RETRY_AFTER)
        async with self._lock:
            if self._pin != in_force.pin:
                try:
                    self._search = await asyncio.to_thread(search.load, self._settings, in_force.pin)
                except (CacheError, OSError) as error:
                    raise ProblemError(503, "unavailable", str(error), headers=_RETRY_AFTER) from None
                self._pin = in_force.pin
        page = await asyncio.to_thread(self._search.find, query, offset, limit)
        found = [PackageFound(**asdict(package)) for package in page.packages]
        return PackagesPage(package_set=in_force.pin, total=page.total, offset=offset, packages=found)


def router(environments: View, package_sets: PackageSets, settings: NixSettings) -> APIRouter:
    """The routes; `environments` is a view of `dependencies.store`."""
    routes = APIRouter()
    packages = Packages(package_sets, settings)

    @routes.get(
        "/dependencies/{id}", response_model=EnvironmentState, summary="A set of dependencies as it is now"
    )
    async def get_dependencies(id: Id) -> Any:
        raw = environments.get(id)
        if raw is not None:
            return EnvironmentState.model_validate_json(raw)
        if not environments.caught_up:
            raise ProblemError(503, "unavailable", "the store is still being read", headers=_RETRY_AFTER)
        raise ProblemError(404, "unknown-dependencies", f"there are no dependencies {id!r}")

    @routes.get("/packages", summary="Find packages that requests may name")
    async def get_packages(
        q: Annotated[str, Query(max_length=200, description="Words in the name or the description.")] = "",
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> PackagesPage:
        return await packages.find(q, offset, limit)

    return routes
