"""Settings of workers and cache builders, of the webhook sender and of the sealer."""

import socket
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _processors() -> int:
    # Only workers and builders need the sandbox's modules; every role imports this one.
    from processors.sandbox.cgroups.share import processors

    return processors()


class LeaseSettings(BaseSettings):
    """Timing of leases; workers, cache builders and health checkers must have the same values."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    lease_renewal_s: float = Field(default=1.0, gt=0)
    """Time between two renewals of a lease."""
    lease_timeout_s: float = Field(default=10.0, gt=0)
    """Time without a renewal after which a lease expires; at least two renewals, so that one may be late."""

    @model_validator(mode="after")
    def _renewals_within_the_timeout(self) -> Self:
        if self.lease_timeout_s < 2 * self.lease_renewal_s:
            raise ValueError("lease_timeout_s must be at least two times lease_renewal_s")
        return self


class WorkSettings(LeaseSettings):
    """Capacity of one worker or cache builder, and its leases."""

    host: str = Field(default_factory=socket.gethostname)
    """Name of the machine. Its workers and cache builders share one Cache."""
    instance: str = "0"
    """Name of this process among those of its role on the host, the same after a restart; part of folder
    names."""
    worker_slots: int = Field(default_factory=_processors, ge=1)
    """Submissions that one worker runs at the same time. By default the number of processors that it may use,
    or its control group's CPU quota if that is less."""
    builder_slots: int = Field(default=1, ge=1)
    """Environments that one cache builder builds at the same time."""
    waiting_per_worker: int = Field(default=256, ge=1)
    """Submissions that may wait for their dependencies at one worker. At this number it stops consuming."""
    compile_cache_bytes: int = Field(default=1 << 30, ge=0)
    """Size of the cache of compiled programs on this host, for submissions with the same sources; 0 disables
    it."""
    grace_s: float = Field(default=5.0, ge=0)
    """Time for running work to finish after SIGTERM, before it is handed back."""
    failure_expires_s: float = Field(default=3600.0, ge=0)
    """Time for which the failure of an installation stands if the dependencies caused it."""
    other_failure_expires_s: float = Field(default=60.0, ge=0)
    """Time for which any other failure of an installation stands: an error of the host, or a limit, which may
    have been hit because the host was busy. A request with higher limits starts a new installation at
    once."""


class WebhookSettings(BaseSettings):
    """Delivery of webhooks. `webhook_allow` in topics/settings.py names the permitted receivers."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    webhook_secret_file: Path | None = None
    """File of signing secrets, one `whsec_…` a line as in the Standard Webhooks specification
    (standardwebhooks.com). `envicutor up` creates one."""
    webhook_ca_file: Path | None = None
    """PEM file of the authority that signs receivers' certificates; None to trust the machine's
    authorities."""
    webhook_attempts: int = Field(default=10, ge=1)
    """Delivery attempts before a webhook becomes a dead letter."""
    webhook_first_retry_s: float = Field(default=5.0, gt=0)
    """Pause after the first failed attempt. Each further pause is four times as long, up to an hour; ten
    attempts take over five hours."""


class SealerSettings(BaseSettings):
    """Timing of seals."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    seal_period_s: float = Field(default=10.0, gt=0)
    """Longest time before a record is sealed. A younger record can be altered without a trace."""
