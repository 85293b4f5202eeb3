"""Resource limits of the process that started the worker, which its programs would inherit."""

import resource

from processors.sandbox.model import SandboxError
from topics.request.limits import range_of

UNLIMITED = resource.RLIM_INFINITY


def needed() -> dict[str, int]:
    """Return the hard limit that each resource must have at least, by the name of `ulimit -H`'s option."""
    ceilings = {
        name: int(max(found.ceiling for stage in ("compile", "run") if (found := range_of((stage, name)))))
        for name in ("file_size_bytes", "open_files")
    }
    return {
        "AS": UNLIMITED,  # nothing else sets it, so programs would be refused memory within their limits
        "STACK": UNLIMITED,
        "FSIZE": ceilings["file_size_bytes"],
        "NOFILE": ceilings["open_files"],
    }


def raise_limits() -> None:
    """Raise the hard limits of this process to what submissions may ask for.

    Raises:
        SandboxError: a limit is lower and may not be raised, as without the capability SYS_RESOURCE.
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
                f"the resource limit RLIMIT_{name} is {hard}, below what submissions may ask for, and may "
                "not be raised: start the worker without that limit (ulimit, systemd's LimitAS= and the like)"
            ) from error
