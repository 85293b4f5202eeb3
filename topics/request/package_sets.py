"""Names of package sets that requests may give, and the pins that they stand for now."""

from collections.abc import Mapping
from dataclasses import dataclass

from topics.request.errors import FieldError, InvalidRequestError

FIELD = "package_set"
"""Field of a request that names a package set."""


class UnknownPackageSetError(ValueError):
    """No package set of this name is offered. The message has the names that are."""


@dataclass(frozen=True)
class OfferedPackageSets:
    """The package sets that requests may name: their pins by name, the default one first."""

    pins: Mapping[str, str]

    @property
    def default(self) -> str:
        """Name of the package set of requests that name none."""
        return next(iter(self.pins))

    def pin(self, name: str | None) -> str:
        """Return the pin of a package set, of the default one without a name.

        Raises:
            UnknownPackageSetError: there is none of this name.
        """
        found = self.pins.get(self.default if name is None else name)
        if found is None:
            raise UnknownPackageSetError(f"there is no package set {name!r}; offered: {', '.join(self.pins)}")
        return found

    def pin_of_request(self, name: str | None) -> str:
        """Return the pin for the field `package_set` of a request.

        Raises:
            InvalidRequestError: there is no package set of this name.
        """
        try:
            return self.pin(name)
        except UnknownPackageSetError as error:
            raise InvalidRequestError((FieldError(field=FIELD, message=str(error)),)) from None
