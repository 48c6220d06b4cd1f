"""What the server counts, for Prometheus; with several workers, over all of them."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Requests by route and status, their durations, commands by outcome, and the store's position."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "cart_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._durations = Histogram(
            "cart_request_seconds", "Time to answer.", ["route"], registry=self._registry, buckets=BUCKETS_S
        )
        self._refusals = Counter("cart_refusals", "Requests refused, by name.", ["code"], registry=self._registry)
        self._position = Gauge(
            "cart_store_position", "Position of the last event.", registry=self._registry, multiprocess_mode="max"
        )
        self._known: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count one request."""
        key = (method, route, status)
        if key not in self._known:
            self._known[key] = (self._requests.labels(method, route, status), self._durations.labels(route))
        counter, histogram = self._known[key]
        counter.inc()
        histogram.observe(took_s)

    def refusal(self, code: str) -> None:
        """Count one refusal."""
        self._refusals.labels(code).inc()

    def text(self, position: int) -> bytes:
        """Everything counted, in Prometheus' text format."""
        self._position.set(position)
        if FOLDER_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        whole = CollectorRegistry()
        MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
        return generate_latest(whole)
