"""Settings of features that were removed. Every process checks them, so this module imports no other one."""

from collections.abc import Mapping

PREFIX = "ENVICUTOR_"

REMOVED = {
    "QUEUE": (
        "group",
        "share groups were removed, workers form a consumer group. Unset it, and use a new data folder",
    ),
    "SANDBOX_ENGINE": ("native", "other engines were removed, the launcher makes all sandboxes. Unset it"),
}
"""Settings that were removed: the value that is the present behaviour, and what to do about others."""


def removed(environment: Mapping[str, str]) -> str | None:
    """Return a message if a variable of `environment` selects a removed feature, else None.

    No process may start with such a variable. A removed setting whose value selects the present behaviour is
    harmless; `misspelt` warns of it.
    """
    for name, value in environment.items():
        if name.upper().startswith(PREFIX):
            present, why = REMOVED.get(name.upper().removeprefix(PREFIX), (value, ""))
            if value != present:
                return f"{name}={value}: {why}"
    return None
