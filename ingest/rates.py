"""How often each API key may ask this node. Pure: the time is given."""

from dataclasses import dataclass

from topics.security.api_keys import ApiKey, Quotas


@dataclass(slots=True)
class _Bucket:
    """A token bucket: it fills with `requests_per_s` up to `burst`, and each request takes one."""

    quotas: Quotas
    tokens: float
    filled_s: float

    def take(self, now_s: float) -> float:
        rate = self.quotas.requests_per_s
        if rate is None:
            return 0.0
        self.tokens = min(self.quotas.burst, self.tokens + (now_s - self.filled_s) * rate)
        self.filled_s = now_s
        if self.tokens < 1:
            return (1 - self.tokens) / rate
        self.tokens -= 1
        return 0.0


class Rates:
    """Of all keys that asked."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: ApiKey, now_s: float) -> float:
        """0 where one more request is within the key's quota, else after how many seconds it is."""
        bucket = self._buckets.get(key.id)
        if bucket is None or bucket.quotas != key.quotas:
            bucket = self._buckets[key.id] = _Bucket(key.quotas, key.quotas.burst, now_s)
        return bucket.take(now_s)
