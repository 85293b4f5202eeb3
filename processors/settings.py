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
    """How work tells that it lives: alike for those who do it and for those who judge."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    lease_renewal_s: float = Field(default=1.0, gt=0)
    lease_timeout_s: float = Field(default=10.0, gt=0)
    """How long a worker may not be heard of before its attempt is given to another; several renewals."""

    @model_validator(mode="after")
    def _renewals_within_the_timeout(self) -> Self:
        if self.lease_timeout_s < 2 * self.lease_renewal_s:
            raise ValueError("lease_timeout_s must be at least two times lease_renewal_s")
        return self


class WorkSettings(LeaseSettings):
    """How much one process does at a time, and how it tells that it lives."""

    host: str = Field(default_factory=socket.gethostname)
    """Name of the machine, whose Cache its workers and builders share."""
    instance: str = "0"
    """Tells the processes of one role on one host apart, across their restarts; names their folders."""
    worker_slots: int = Field(default_factory=_processors, ge=1)
    """Submissions that one worker runs side by side. By default the number of processors that it may run on,
    or its control group's CPU quota if that is less."""
    builder_slots: int = Field(default=1, ge=1)
    """Environments that one cache builder builds side by side."""
    waiting_per_worker: int = Field(default=256, ge=1)
    """Submissions that may wait for their dependencies at one worker; then it stops popping."""
    compile_cache_bytes: int = Field(default=1 << 30, ge=0)
    """Of what was compiled on this host, for submissions that ask for the same again; 0 keeps nothing."""
    grace_s: float = Field(default=5.0, ge=0)
    """How long running work may go on after SIGTERM, before it is handed back."""
    failure_expires_s: float = Field(default=3600.0, ge=0)
    """For how long dependencies that cannot be installed, by their own fault, are not tried again."""
    other_failure_expires_s: float = Field(default=60.0, ge=0)
    """The same where the fault was ours, or a limit was hit, which may be because this host was busy. A
    request that allows more than the limits that they failed under has them tried at once."""


class WebhookSettings(BaseSettings):
    """How ends are told over HTTP; where they may be is `webhook_allow`, see topics/settings.py."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    webhook_secret_file: Path | None = None
    """What signs them: a `whsec_…` a line, as standardwebhooks.com has it. `up` makes one."""
    webhook_ca_file: Path | None = None
    """PEM of the authority that signed receivers' certificates; None for those that the machine trusts."""
    webhook_attempts: int = Field(default=10, ge=1)
    """How often one is tried before it becomes a dead letter."""
    webhook_first_retry_s: float = Field(default=5.0, gt=0)
    """After how long it is tried again; four times as long each time, up to an hour. With ten tries that is
    over five hours."""


class SealerSettings(BaseSettings):
    """How soon what happened is sealed."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    seal_period_s: float = Field(default=10.0, gt=0)
    """Whoever can alter the log can alter what is younger without a trace."""
