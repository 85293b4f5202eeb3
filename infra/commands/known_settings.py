"""All settings of the system: checked before a process starts, and known by name."""

import difflib
from collections.abc import Iterable, Iterator

from pydantic_settings import BaseSettings

from envicutor_client.cli.client import ClientSettings
from infra.commands.removed_settings import PREFIX, REMOVED
from infra.kafka.gateway.settings import GatewaySettings
from infra.settings import LocalSettings
from ingest.settings import IngestSettings
from nix.settings import NixSettings
from processors.health_checker.settings import HealthCheckerSettings
from processors.sandbox import SandboxSettings
from processors.settings import SealerSettings, WebhookSettings, WorkSettings
from topics.settings import KafkaSettings

_ROLE_SETTINGS: tuple[type[BaseSettings], ...] = (
    *(LocalSettings, GatewaySettings, IngestSettings, NixSettings, SandboxSettings),
    *(WorkSettings, HealthCheckerSettings, WebhookSettings, SealerSettings),
)


def check_settings() -> None:
    """Read the settings of all processes that `up` starts.

    Raises:
        ValidationError, SettingsError: a setting is wrong. Errors of one class of settings come together.
    """
    for settings in _ROLE_SETTINGS:
        settings()
    KafkaSettings(security_protocol="PLAINTEXT")  # `up` itself decides how its roles reach the broker


def misspelt(names: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each variable of the environment that looks like a setting, and is none."""
    every: tuple[type[BaseSettings], ...] = (*_ROLE_SETTINGS, KafkaSettings, ClientSettings)
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
            if rest in REMOVED:
                hint = "; it was removed, and this value changes nothing"
            yield f"{name} is not a setting, and is ignored{hint}"
