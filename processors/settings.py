"""Settings of workers and cache builders."""

import os
import socket

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WorkSettings(BaseSettings):
    """How much one process does at a time, and how it tells that it lives."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    host: str = Field(default_factory=socket.gethostname)
    """Name of the machine, whose Cache its workers and builders share."""
    instance: str = "0"
    """Tells the processes of one role on one host apart, across their restarts; names their folders."""
    worker_slots: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Submissions that one worker runs side by side."""
    builder_slots: int = Field(default=1, ge=1)
    """Environments that one cache builder builds side by side."""
    waiting_per_worker: int = Field(default=256, ge=1)
    """Submissions that may wait for their dependencies at one worker; then it stops popping."""
    lease_renewal_s: float = Field(default=1.0, gt=0)
    grace_s: float = Field(default=5.0, ge=0)
    """How long running work may go on after SIGTERM, before it is handed back."""
    failure_expires_s: float = Field(default=3600.0, ge=0)
    """For how long dependencies that cannot be installed, by their own fault, are not tried again."""
    other_failure_expires_s: float = Field(default=60.0, ge=0)
    """The same where the fault was ours, or a limit was hit, which may be because this host was busy. A
    request that allows more than the limits that they failed under has them tried at once."""
