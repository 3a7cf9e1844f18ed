"""Metrics: what prometheus-client's own counters would say of the same records, to the letter."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bridge.api.record import Record
from bridge.observe.metrics import Metrics

EJECTIONS = [("svc:80", 3, 1), ("vat-svc:http", 0, 0)]
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def records() -> list[Record]:
    made = []
    for number in range(300):
        record = Record(
            1.0, f"{number:032x}", ("GET", "POST")[number % 2], "/a", route=("", "7", 'a"\\b\n')[number % 3]
        )
        record.status = (200, 404, 502)[number % 5 % 3]
        record.total = number * 0.0005 if number < 290 else number / 9
        record.waited = record.total / 2 if number % 3 == 1 else 0.0
        record.bytes_in, record.bytes_out = number, 2**40 + number
        made.append(record)
    return made


def theirs(counted: list[Record]) -> bytes:
    registry = CollectorRegistry()
    Gauge("bridge_routes", "Routes that are live.", registry=registry).set(3)
    requests = Counter(
        "bridge_requests_total",
        "Requests by route, method and status.",
        ["route", "method", "status"],
        registry=registry,
    )
    seconds = Histogram(
        "bridge_request_seconds", "From the request's first byte to the answer's last.", ["route"], buckets=BUCKETS,
        registry=registry,
    )  # fmt: skip
    upstream = Histogram(
        "bridge_upstream_seconds", "Waiting for the upstream.", ["route"], buckets=BUCKETS, registry=registry
    )
    size = Counter("bridge_bytes_total", "Body bytes.", ["route", "direction"], registry=registry)
    for record in counted:
        route = record.route or "none"
        requests.labels(route, record.method if record.route else "any", str(record.status)).inc()
        seconds.labels(route).observe(record.total)
        if record.waited:
            upstream.labels(route).observe(record.waited)
        size.labels(route, "in").inc(record.bytes_in)
        size.labels(route, "out").inc(record.bytes_out)
    ejections = Counter(
        "bridge_upstream_ejections_total",
        "Ejections of instances that failed or took no connection.",
        ["upstream"],
        registry=registry,
    )
    ejected = Gauge("bridge_upstream_ejected", "Instances that are ejected now.", ["upstream"], registry=registry)
    for name, total, now in EJECTIONS:
        ejections.labels(name).inc(total)
        ejected.labels(name).set(now)
    return generate_latest(registry)


def without_times(rendered: bytes) -> str:
    """Less the moments at which each series began."""
    return re.sub(r"^(\w+_created(?:\{.*\})?) .*$", r"\1", rendered.decode(), flags=re.MULTILINE)


def test_they_are_what_prometheus_would_count() -> None:
    metrics = Metrics(lambda: EJECTIONS)
    metrics.routes.set(3)
    for record in records():
        metrics.count(record)
    assert without_times(metrics.render()) == without_times(theirs(records()))


def test_a_series_says_when_it_began() -> None:
    metrics = Metrics()
    metrics.count(Record(1.0, "a", "GET", "/a", route="7", waited=0.5))
    families = text_string_to_metric_families(metrics.render().decode())
    began = [sample.value for family in families for sample in family.samples if sample.name.endswith("_created")]
    assert len(began) == 5
    assert min(began) > 1_700_000_000
