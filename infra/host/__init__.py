"""What a machine must offer to run a system: each thing looked at as whoever needs it does."""

from infra.host.check import Check
from infra.host.dependencies import dependencies_checks
from infra.host.sandboxes import sandbox_checks
from infra.host.system import system_checks
from infra.settings import LocalSettings
from processors.sandbox import SandboxSettings


def checks_of(local: LocalSettings, sandbox: SandboxSettings) -> list[Check]:
    """What `envicutor up` needs with these settings; those that others build on come first."""
    return [*sandbox_checks(sandbox), *dependencies_checks(local), *system_checks(local)]
