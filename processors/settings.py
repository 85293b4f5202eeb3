"""Settings of workers and cache builders, of the webhook sender and of the sealer."""

import socket
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from topics.request.limits import DependenciesLimits

_BUILD_USERS = 8
"""Most builds at the same time by default: half of Nix's 16 build users, which a host's builders share."""


def _processors() -> int:
    # Only workers and builders need the sandbox's modules; every role imports this one.
    from processors.sandbox.cgroups.share import processors

    return processors()


def _builds() -> int:
    from processors.sandbox.cgroups import share

    builds_in_memory = share.left_for_stages(share.memory_limit()) // DependenciesLimits().memory_bytes
    return max(1, min(share.processors(), builds_in_memory, _BUILD_USERS))


class LeaseSettings(BaseSettings):
    """Renewal and expiry of leases, the same for workers, cache builders and health checkers."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    lease_renewal_s: float = Field(default=1.0, gt=0)
    """Time between two renewals of a lease."""
    lease_timeout_s: float = Field(default=10.0, gt=0)
    """Time without a renewal after which a lease expires and the attempt is enqueued again. At least twice
    `LEASE_RENEWAL_S`."""

    @model_validator(mode="after")
    def _renewals_within_the_timeout(self) -> Self:
        if self.lease_timeout_s < 2 * self.lease_renewal_s:
            raise ValueError("lease_timeout_s must be at least two times lease_renewal_s")
        return self


class WorkSettings(LeaseSettings):
    """Capacity of one worker or cache builder process."""

    host: str = Field(default_factory=socket.gethostname)
    """Name of the machine. All workers and cache builders with this name share one Cache."""
    instance: str = "0"
    """Name of this process among those of its role on the host. It stays the same across restarts, and
    names the folders of the process."""
    worker_slots: int = Field(default_factory=_processors, ge=1)
    """Submissions that one worker runs at the same time. By default the number of CPUs that it may use,
    or the CPU quota of its control group if that is less. Each needs two of `SANDBOX_BOXES`."""
    builder_slots: int = Field(default_factory=_builds, ge=1)
    """Environments that one cache builder unpacks and builds at the same time. By default the number of CPUs
    that it may use, but no more than builds with 2 GiB each fit into its memory, and at most 8. Evaluations
    and downloads have slots of their own, see [dependencies.md](dependencies.md#turns)."""
    held_builds: int = Field(default=256, ge=0)
    """Attempts beyond `BUILDER_SLOTS` that one cache builder evaluates and downloads, or that wait there for
    a slot. More than `MAX_UNFINISHED_BUILDS`, so that builds of one owner leave room for others."""
    waiting_per_worker: int = Field(default=256, ge=1)
    """Submissions that may wait for their dependencies at one worker. Beyond it the worker stops
    consuming."""
    compile_cache_bytes: int = Field(default=1 << 30, ge=0)
    """Disk space of compiled programs that a host keeps for equal submissions, see
    [http.md](http.md#compiling-once). 0 keeps none, so each submission is compiled."""
    grace_s: float = Field(default=5.0, ge=0)
    """Time that running work has to finish after SIGTERM before the worker gives it up (`HandedBack`)."""
    failure_expires_s: float = Field(default=3600.0, ge=0)
    """Time for which dependencies that cannot be installed are not tried again, if the request is at
    fault, such as an unknown package."""
    other_failure_expires_s: float = Field(default=60.0, ge=0)
    """The same time if the host was at fault, or if a limit was reached, which may be due to a busy host. A
    request with higher limits has the dependencies tried at once."""


class WebhookSettings(BaseSettings):
    """Signatures and retries of webhooks; `WEBHOOK_ALLOW` has the permitted receivers."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    webhook_secret_file: Path | None = None
    """File of the secrets that sign webhooks, one `whsec_…` a line (standardwebhooks.com). If receivers are
    allowed, `up` makes `DATA_DIR/secrets/webhook.secret`."""
    webhook_ca_file: Path | None = None
    """PEM of the authority that signed receivers' certificates. By default those that the machine trusts."""
    webhook_attempts: int = Field(default=10, ge=1)
    """Tries of one webhook before it becomes a dead letter."""
    webhook_first_retry_s: float = Field(default=5.0, gt=0)
    """Longest delay before the first retry (at least half of it). Each later delay is four times as long,
    up to an hour, so ten tries take more than five hours."""


class SealerSettings(BaseSettings):
    """Period of the sealer."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    seal_period_s: float = Field(default=10.0, gt=0)
    """Time between two seals. Records that were appended after the last seal can be altered without a
    trace. See [audit.md](audit.md#seals)."""
