"""All settings that there are: checked before anything starts, and known by name."""

import difflib
from collections.abc import Iterable, Iterator, Mapping

from pydantic_settings import BaseSettings

from infra.commands.client import ClientSettings
from infra.kafka.gateway.settings import GatewaySettings
from infra.settings import LocalSettings
from ingest.settings import IngestSettings
from nix.settings import NixSettings
from processors.health_checker.settings import HealthCheckerSettings
from processors.sandbox import SandboxSettings
from processors.settings import SealerSettings, WebhookSettings, WorkSettings
from topics.settings import KafkaSettings

PREFIX = "ENVICUTOR_"
_OF_ROLES: tuple[type[BaseSettings], ...] = (
    *(LocalSettings, GatewaySettings, IngestSettings, NixSettings, SandboxSettings),
    *(WorkSettings, HealthCheckerSettings, WebhookSettings, SealerSettings),
)

_REMOVED = {
    "QUEUE": (
        "group",
        "share groups were removed, workers form a consumer group. Unset it, and use a new data folder",
    ),
    "SANDBOX_ENGINE": ("native", "other engines were removed, the launcher makes all sandboxes. Unset it"),
}
"""Settings that were removed: the value that is the present behaviour, and what to do about others."""


def check_settings() -> None:
    """Read those of all processes that `up` starts.

    Raises:
        ValidationError, SettingsError: of the first class of settings that has a wrong one.
    """
    for settings in _OF_ROLES:
        settings()
    KafkaSettings(security_protocol="PLAINTEXT")  # `up` says itself how its broker is reached


def removed(environment: Mapping[str, str]) -> str | None:
    """Return why a process must not start: a setting of `environment` asks for what was removed.

    Return None if it asks for nothing of that. A removed setting whose value is the present behaviour is only
    a setting that does not exist, see `misspelt`.
    """
    for name, value in environment.items():
        present, why = _REMOVED.get(name.upper().removeprefix(PREFIX), (value, ""))
        if value != present:
            return f"{name}={value}: {why}"
    return None


def misspelt(names: Iterable[str]) -> Iterator[str]:
    """What to say of those variables of the environment that look like settings, and are none."""
    every: tuple[type[BaseSettings], ...] = (*_OF_ROLES, KafkaSettings, ClientSettings)
    known = {
        f"{settings.model_config['env_prefix']}{field}".upper().removeprefix(PREFIX)
        for settings in every
        for field in settings.model_fields
    }
    for name in sorted(names):
        rest = name.upper().removeprefix(PREFIX)
        if name.upper().startswith(PREFIX) and rest not in known:
            nearest = difflib.get_close_matches(rest, known, n=1)
            hint = f"; did you mean {PREFIX}{nearest[0]}?" if nearest else ""
            yield f"{name} is no setting, and is ignored{hint}"
