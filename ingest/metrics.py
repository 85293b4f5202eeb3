"""Metrics of an ingest node, for Prometheus."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_LAG_S = 2.0
"""Time that the broker may take to return end offsets; after it the lag is left out."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """Counters, histograms and gauges of one node, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ["method", "route"]
        self._requests = Counter(
            "envicutor_http_requests", "Requests.", [*labels, "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "envicutor_http_request_seconds",
            "From a request's head to the end of its answer.",
            labels,
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._lag = Gauge(
            "envicutor_ingest_lag_records",
            "Records of a topic that this node has not read yet.",
            ["topic"],
            registry=self._registry,
        )
        self._queue_wait = Histogram(
            "envicutor_queue_wait_seconds",
            "From a request to its first start by a worker, of all submissions; each node has them all.",
            buckets=_WAIT_BUCKETS,
            registry=self._registry,
        )
        self._lags: Mapping[str, Callable[[], Awaitable[int]]] = {}

    def watch(self, lags: Mapping[str, Callable[[], Awaitable[int]]], **gauges: Callable[[], float]) -> None:
        """Export these lags and gauges, which are evaluated at each scrape; `_GAUGES` has the help texts."""
        self._lags = lags
        for name, value in gauges.items():
            Gauge(f"envicutor_{name}", _GAUGES[name], registry=self._registry).set_function(value)

    def observe_queue_wait(self, wait_s: float) -> None:
        """Count a submission that a worker has started, and its queue wait."""
        self._queue_wait.observe(wait_s)

    def observe(self, method: str, route: str, status: int, taken_s: float) -> None:
        """Count a request and the time that it took."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(taken_s)

    async def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        await asyncio.gather(*(self._update_lag(topic, lag) for topic, lag in self._lags.items()))
        return generate_latest(self._registry)

    async def _update_lag(self, topic: str, lag: Callable[[], Awaitable[int]]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAG_S):
                self._lag.labels(topic).set(await lag())
                return
        with contextlib.suppress(KeyError):  # rather than export an old value
            self._lag.remove(topic)


_GAUGES = {
    "disk_free_bytes": "Free space of the file system with the least, of those that this node watches.",
    "disk_short": "1 while no submission is accepted for want of disk space, else 0.",
    "submissions_unfinished": "Submissions that are accepted and not finished, as far as this node knows.",
    "submissions_oldest_waiting_seconds": "Longest wait of a submission that waits, 0 if none does.",
    "http_event_streams": "Clients that follow a submission.",
    "sandboxes_prepared": "Stages with a prepared sandbox, of the present workers since each started.",
    "sandboxes_unprepared": "Stages whose sandbox was made when it was needed, of the present workers.",
}
