"""Settings of both health checkers."""

from typing import Self

from pydantic import Field, model_validator

from processors.settings import LeaseSettings


class HealthCheckerSettings(LeaseSettings):
    """When a lease is late, and when the health checker itself is."""

    tick_period_s: float = Field(default=1.0, gt=0)
    """Between two ticks in a partition; how exactly `lease_timeout_s` is kept."""
    stuck_timeout_s: float = Field(default=10.0, gt=0)
    """After how long without progress in a partition a health checker ends itself, to be started again."""

    @model_validator(mode="after")
    def _ticks_within_the_timeout(self) -> Self:
        if self.lease_timeout_s < 2 * self.tick_period_s:
            raise ValueError("lease_timeout_s must be at least two times tick_period_s")
        return self
