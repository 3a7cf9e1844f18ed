"""Prometheus metrics, counted from access records on the log's thread, so that a request pays nothing for them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bridge.observe.access import Record

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """A registry of its own for each gateway: two in one process don't mix their figures."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.routes = Gauge("bridge_routes", "Routes that are live.", registry=self._registry)
        self._requests = Counter(
            "bridge_requests_total", "Requests by route, method and status.", ["route", "method", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "bridge_request_seconds", "From the request's first byte to the answer's last.", ["route"],
            buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._upstream = Histogram(
            "bridge_upstream_seconds", "Waiting for the upstream.", ["route"],
            buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._bytes = Counter("bridge_bytes_total", "Body bytes.", ["route", "direction"], registry=self._registry)

    def count(self, record: Record) -> None:
        route = record.route or "none"
        # A made-up method would make a time series of its own for everyone who invents one.
        method = record.method if record.route else "any"
        self._requests.labels(route, method, str(record.status)).inc()
        self._seconds.labels(route).observe(record.total)
        if record.waited:
            self._upstream.labels(route).observe(record.waited)
        self._bytes.labels(route, "in").inc(record.bytes_in)
        self._bytes.labels(route, "out").inc(record.bytes_out)

    def render(self) -> bytes:
        return generate_latest(self._registry)
