"""Checks of a machine before it runs a system. Each check tries a feature as its user in the system does."""

from infra.host.check import Check
from infra.host.dependencies import dependencies_checks
from infra.host.sandboxes import sandbox_checks
from infra.host.system import system_checks
from infra.settings import LocalSettings
from nix.settings import NixSettings
from processors.sandbox import SandboxSettings


def checks_of(local: LocalSettings, sandbox: SandboxSettings) -> list[Check]:
    """Return the checks of `envicutor up` with these settings. A check precedes those that depend on it."""
    nix = NixSettings()
    # `up` keeps environments in the data folder. Workers that are started by hand use the setting.
    nix_root = nix.nix_root if "nix_root" in nix.model_fields_set else local.data_dir / "nix"
    return [
        *sandbox_checks(sandbox, nix_root),
        *dependencies_checks(local),
        *system_checks(local),
    ]
