"""`wheels_only ARGUMENT...`: pip, unable to build a package, to run version control, or to leave the index.

`--only-binary` does not count for a requirement that is an address (`NAME @ URL`): pip would fetch a source
archive from there and run its build backend to learn what it needs.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import NoReturn

from pip._internal.cli.main import main
from pip._internal.distributions.sdist import SourceDistribution
from pip._internal.exceptions import InstallationError
from pip._internal.operations import prepare
from pip._internal.req.req_install import InstallRequirement
from pip._internal.resolution.resolvelib.base import Requirement
from pip._internal.resolution.resolvelib.factory import Factory

_requirements = Factory._make_requirements_from_install_req


def _from_the_index(
    factory: Factory, wanted: InstallRequirement, requested_extras: Iterable[str]
) -> Iterator[Requirement]:
    """Yield what pip does. Raises InstallationError for an address, before pip asks for it."""
    if wanted.link and wanted.match_markers(requested_extras):
        needs = f" (which {wanted.comes_from.name} needs)" if wanted.comes_from else ""  # type: ignore[union-attr]
        raise InstallationError(
            f"{wanted.name}{needs} is named by the address {wanted.link.url_without_fragment[:300]}, and "
            "only wheels that the index lists are installed"
        )
    yield from _requirements(factory, wanted, requested_extras)


def _no_source(*_: object, **__: object) -> NoReturn:
    raise InstallationError("nothing is built here: only wheels that the index lists are installed")


def restrict() -> None:
    """Have this process's pip refuse all else. Raises AttributeError where pip is not as we know it."""
    Factory._make_requirements_from_install_req = _from_the_index  # type: ignore[method-assign, assignment]
    # Whatever way a requirement came, nothing of it is executed, and no repository is checked out.
    for place, name in ((SourceDistribution, "prepare_distribution_metadata"), (prepare, "unpack_vcs_link")):
        getattr(place, name)
        setattr(place, name, _no_source)


if __name__ == "__main__":
    restrict()
    sys.exit(main())
