"""A key's rate: so many at once, then as they come."""

import pytest

from ingest.rates import Rates
from topics.security.api_keys import ApiKey, Quotas


def key(id: str = "one", **quotas: float) -> ApiKey:
    return ApiKey(id=id, name=id, scopes=(), quotas=Quotas.model_validate(quotas), created_at="")


def test_a_burst_then_the_rate() -> None:
    rates, asks = Rates(), key(requests_per_s=2.0, burst=3)
    assert [rates.take(asks, 100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rates.take(asks, 100.25) == pytest.approx(0.25)
    assert [rates.take(asks, 100.5), rates.take(asks, 100.5)] == [0, 0.5]
    assert [rates.take(asks, 1000.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_each_key_has_its_own_and_some_have_none() -> None:
    rates, slow, other = Rates(), key(requests_per_s=0.1), key("other", requests_per_s=0.1)
    assert rates.take(slow, 0.0) == 0 == rates.take(other, 0.0)
    assert rates.take(slow, 0.0) == pytest.approx(10)
    assert {rates.take(key("free"), 0.0) for _ in range(1000)} == {0}
    assert rates.take(key(requests_per_s=0.1, burst=2), 0.0) == 0, "its quotas were changed"
