"""Whose fault it is."""


class DependenciesError(Exception):
    """Something is wrong with the dependencies themselves; the message explains it to whoever wrote them."""


class LimitError(DependenciesError):
    """The dependencies hit a limit, which the message names; with more of it they might do."""


class PassingError(DependenciesError):
    """The same dependencies may do in a while: something that they need is switched off, say."""


class CacheError(Exception):
    """The Cache could not do its work (disk full, Nix missing, no network): our fault, worth a retry."""


class MissingError(CacheError):
    """A store path is not, or no longer, in this Cache."""
