"""Rate limits of API keys at this node. Pure: the caller passes the time."""

from dataclasses import dataclass

from topics.security.api_keys import ApiKey, Quotas


@dataclass(slots=True)
class _Bucket:
    """Token bucket that fills with `requests_per_s` tokens up to `burst`; each request takes one."""

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
    """Token buckets of all keys that have sent a request."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: ApiKey, now_s: float) -> float:
        """Take a token of `key`; return 0, or the seconds until the next token if none is left."""
        bucket = self._buckets.get(key.id)
        if bucket is None or bucket.quotas != key.quotas:
            bucket = self._buckets[key.id] = _Bucket(key.quotas, key.quotas.burst, now_s)
        return bucket.take(now_s)
