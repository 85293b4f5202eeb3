import pytest
from pydantic import ValidationError

from processors.health_checker.settings import HealthCheckerSettings


def test_defaults() -> None:
    settings = HealthCheckerSettings()
    assert (settings.lease_timeout_s, settings.tick_period_s, settings.stuck_timeout_s) == (10.0, 1.0, 10.0)


def test_a_timeout_that_ticks_cannot_tell_is_refused() -> None:
    with pytest.raises(ValidationError, match="tick_period_s"):
        HealthCheckerSettings(lease_timeout_s=1.5, tick_period_s=1.0)
