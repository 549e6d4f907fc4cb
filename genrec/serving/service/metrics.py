"""Metrics of the service, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics:
    """Counts of requests and batches.

    Args:
        num_waiting: the histories that wait.
    """

    def __init__(self, num_waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("genrec_requests", "Finished requests.", ("route", "status"), registry=self._registry)
        self.seconds = Histogram(
            "genrec_request_seconds", "Time of a request.", ("route",), registry=self._registry, buckets=_SECONDS
        )
        self.batches = Histogram(
            "genrec_batch_histories",
            "Histories computed together.",
            registry=self._registry,
            buckets=tuple(2**power for power in range(9)),
        )
        self.in_progress = Gauge("genrec_requests_in_progress", "Requests in progress.", registry=self._registry)
        waiting = Gauge("genrec_waiting_histories", "Histories that wait for a worker.", registry=self._registry)
        waiting.set_function(num_waiting)
        ProcessCollector(registry=self._registry)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a finished request."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics."""
        return generate_latest(self._registry)
