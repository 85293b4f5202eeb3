"""Resource limits that the worker inherits, and that programs would inherit from it."""

import resource

from processors.sandbox.model import SandboxError
from processors.sandbox.settings import most_of

UNLIMITED = resource.RLIM_INFINITY


def needed() -> dict[str, int]:
    """Return the lowest acceptable hard limit of each resource, by its name without `RLIMIT_`."""
    return {
        "AS": UNLIMITED,  # no other code sets it; programs would be refused memory below their limits
        "STACK": UNLIMITED,
        "FSIZE": most_of("file_size_bytes"),
        "NOFILE": most_of("open_files"),
    }


def raise_limits() -> None:
    """Raise the hard limits of this process to the highest values that submissions may request.

    Raises:
        SandboxError: a limit is lower and cannot be raised, for example without the capability SYS_RESOURCE.
    """
    for name, least in needed().items():
        kind = getattr(resource, f"RLIMIT_{name}")
        soft, hard = resource.getrlimit(kind)
        if hard == UNLIMITED or (hard >= least != UNLIMITED):
            least = hard
        try:
            resource.setrlimit(kind, (least if name == "AS" else soft, least))
        except (ValueError, OSError) as error:
            raise SandboxError(
                f"the resource limit RLIMIT_{name} is {hard}, below what submissions may request, and cannot "
                "be raised: start the worker without that limit (ulimit, systemd's LimitAS= and the like)"
            ) from error
