"""Settings of the health checkers of submissions and of dependencies."""

from typing import Self

from pydantic import Field, model_validator

from processors.settings import LeaseSettings


class HealthCheckerSettings(LeaseSettings):
    """Timeouts of leases, and of the health checker itself."""

    tick_period_s: float = Field(default=1.0, gt=0)
    """Time between two ticks in a partition, and so the precision of `lease_timeout_s`."""
    stuck_timeout_s: float = Field(default=10.0, gt=0)
    """Time without progress in a partition after which a health checker ends, for its supervisor to start it
    again."""

    @model_validator(mode="after")
    def _ticks_within_the_timeout(self) -> Self:
        if self.lease_timeout_s < 2 * self.tick_period_s:
            raise ValueError("lease_timeout_s must be at least two times tick_period_s")
        return self
