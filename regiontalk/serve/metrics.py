"""What ``/metrics`` tells Prometheus: counts and times, never a word or a pixel."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The numbers of one server."""

    def __init__(self, inside: Callable[[], int]) -> None:
        """Take a function that says how many requests are inside now."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        name = "regiontalk_requests"
        self._requests = Counter(
            name, "Requests answered", ["path", "status"], registry=self._registry
        )
        name = "regiontalk_request_seconds"
        self._seconds = Histogram(
            name, "Time to answer", ["path"], buckets=_SECONDS, registry=self._registry
        )
        name = "regiontalk_batch_photos"
        self._batch = Histogram(
            name,
            "Photos computed together",
            buckets=(1, 2, 4, 8, 16),
            registry=self._registry,
        )
        Gauge(
            "regiontalk_inside", "Requests inside", registry=self._registry
        ).set_function(inside)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, photos: int) -> None:
        """Count one batch."""
        self._batch.observe(photos)

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)
