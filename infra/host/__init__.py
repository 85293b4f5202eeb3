"""What a machine must offer to run a system: each thing looked at as whoever needs it does."""

from infra.host.check import Check
from infra.host.dependencies import dependencies_checks
from infra.host.sandboxes import sandbox_checks
from infra.host.system import system_checks
from infra.settings import LocalSettings
from nix.settings import NixSettings
from processors.sandbox import SandboxSettings


def checks_of(local: LocalSettings, sandbox: SandboxSettings) -> list[Check]:
    """What `envicutor up` needs with these settings; those that others build on come first."""
    nix = NixSettings()
    # `up` keeps environments in the data folder; workers that are started by hand use the setting.
    nix_root = nix.nix_root if "nix_root" in nix.model_fields_set else local.data_dir / "nix"
    return [
        *sandbox_checks(sandbox, nix_root),
        *dependencies_checks(local),
        *system_checks(local),
    ]
