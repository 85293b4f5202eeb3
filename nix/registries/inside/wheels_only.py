"""`wheels_only ARGUMENT...`: pip, unable to build a package, to run version control, or to leave the index.

pip ignores `--only-binary` for a requirement with an address (`NAME @ URL`). It would fetch a source archive
from there and run its build backend to read the dependencies.
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
    """Yield the requirements that pip's own function yields, but refuse addresses before pip fetches them.

    Raises:
        InstallationError: the requirement has an address.
    """
    if wanted.link and wanted.match_markers(requested_extras):
        needs = f" (which {wanted.comes_from.name} needs)" if wanted.comes_from else ""  # type: ignore[union-attr]  # None has no name: excluded
        raise InstallationError(
            f"{wanted.name}{needs} is named by the address {wanted.link.url_without_fragment[:300]}, and "
            "only wheels that the index lists are installed"
        )
    yield from _requirements(factory, wanted, requested_extras)


def _no_source(*_: object, **__: object) -> NoReturn:
    raise InstallationError("nothing is built here: only wheels that the index lists are installed")


def restrict() -> None:
    """Patch pip in this process so that it installs only wheels of the index.

    Raises:
        AttributeError: pip's internals differ from those that are patched.
    """
    Factory._make_requirements_from_install_req = _from_the_index  # type: ignore[method-assign, assignment]  # pip has no setting for it
    # Independent of a requirement's origin, none of its code is executed and no repository is checked out.
    for place, name in ((SourceDistribution, "prepare_distribution_metadata"), (prepare, "unpack_vcs_link")):
        getattr(place, name)
        setattr(place, name, _no_source)


if __name__ == "__main__":
    restrict()
    sys.exit(main())
