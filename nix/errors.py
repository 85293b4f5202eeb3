"""Errors of the Cache, by their cause: the dependencies of a request, or the host."""


class DependenciesError(Exception):
    """The dependencies are wrong; the message explains the error to the author of the request."""


class LimitError(DependenciesError):
    """The dependencies hit a limit, which the message names; a higher limit may help."""


class TransientError(DependenciesError):
    """The dependencies cannot be installed now but may be later: a registry is switched off, for example."""


class CacheError(Exception):
    """A host error (full disk, Nix missing, no network); a retry may succeed."""


class EnvironmentNotFoundError(CacheError):
    """A store path is not in this Cache, or no longer; it must be fetched or built again."""
