"""Settings of the health checkers of submissions and of dependencies."""

from typing import Self

from pydantic import Field, model_validator

from processors.settings import LeaseSettings


class HealthCheckerSettings(LeaseSettings):
    """Clock of the health checkers, and when one ends itself."""

    tick_period_s: float = Field(default=1.0, gt=0)
    """Time between two ticks in a partition, which is the precision of `LEASE_TIMEOUT_S`."""
    stuck_timeout_s: float = Field(default=10.0, gt=0)
    """Time without progress in a partition after which a health checker ends itself, so that the supervisor
    starts it again."""

    @model_validator(mode="after")
    def _ticks_within_the_timeout(self) -> Self:
        if self.lease_timeout_s < 2 * self.tick_period_s:
            raise ValueError("lease_timeout_s must be at least two times tick_period_s")
        return self
