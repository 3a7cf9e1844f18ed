"""Prometheus metrics, counted from access records on the log's thread, so that a request pays nothing for them.

The counts are plain numbers, made into Prometheus's samples when somebody asks: its own counters take a lock and look
their labels up at each step, which would be a third of what a line of the log costs.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from bridge.api.record import Record

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Of a store of limits outside the process, and what each means.
LIMIT_FIGURES = {
    "store_up": "1: calls are counted in Redis; 0: it is away, and on_failure says what happens.",
    "round_trips": "Requests to Redis for the counts of calls.",
    "local": "Calls that a lease or a remembered refusal decided, without a request to Redis.",
    "uncounted": "Calls that were decided without Redis, as on_failure says.",
}
_NAMES = [*map(floatToGoString, _BUCKETS), "+Inf"]


class _Spread:
    """Seconds, by the buckets that they fall in."""

    __slots__ = ("counts", "created", "sum")

    def __init__(self) -> None:
        self.counts = [0] * len(_NAMES)
        self.sum = 0.0
        self.created = time.time()

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.sum += seconds

    def onto(self, family: HistogramMetricFamily, route: str) -> None:
        upto, buckets = 0, []
        for name, count in zip(_NAMES, self.counts, strict=True):
            upto += count
            buckets.append((name, float(upto)))
        family.add_metric([route], buckets, self.sum)
        family.add_sample(f"{family.name}_created", {"route": route}, self.created)


class _Tally:
    """What is counted of one route."""

    __slots__ = ("bytes_in", "bytes_out", "created", "seconds", "upstream")

    def __init__(self) -> None:
        self.seconds = _Spread()
        self.upstream: _Spread | None = None
        self.bytes_in = self.bytes_out = 0
        self.created = time.time()


class Metrics(Collector):
    """A registry of its own for each gateway: two in one process don't mix their figures.

    :param ejections: of each upstream, by its mesh name and port: how often an instance was ejected, and how many are
        now. Asked at each scrape, on its thread. The instances' addresses are the log's alone: metrics may be public.
    :param tokens: likewise: requests to token endpoints by kind of credentials and outcome.
    :param files: likewise: each of the operator's files, and whether it is in force as it is written.
    :param issuers: likewise: issuers of tokens, and the seconds for which their keys may be used if no fetch succeeds.
    :param limits: likewise: figures of the store of limits, by name.
    :param introspections: likewise: requests about tokens by issuer and outcome.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(
        self,
        ejections: Callable[[], Iterable[tuple[str, int, int]]] = tuple,
        tokens: Callable[[], Iterable[tuple[str, str, int]]] = tuple,
        files: Callable[[], Iterable[tuple[str, bool]]] = tuple,
        limits: Callable[[], Iterable[tuple[str, float]]] = tuple,
        issuers: Callable[[], Iterable[tuple[str, float]]] = tuple,
        introspections: Callable[[], Iterable[tuple[str, str, int]]] = tuple,
    ) -> None:
        self._ejections, self._tokens, self._files, self._limits = ejections, tokens, files, limits
        self._issuers, self._introspections = issuers, introspections
        self._created = time.time()
        self._registry = CollectorRegistry()
        self.routes = Gauge("bridge_routes", "Routes that are live.", registry=self._registry)
        # By route, method and status: how many, and since when.
        self._requests: dict[tuple[str, str, int], list[float]] = {}
        self._tallies: dict[str, _Tally] = {}
        #: By route and policy: how many, and since when.
        self._refusals: dict[tuple[str, str], list[float]] = {}
        self._registry.register(self)

    def count(self, record: Record) -> None:
        route = record.route or "none"
        # A made-up method would make a time series of its own for everyone who invents one.
        key = (route, record.method if record.route else "any", record.status)
        requests = self._requests.get(key)
        if requests is None:
            requests = self._requests[key] = [0.0, time.time()]
        requests[0] += 1.0
        if record.limit:
            self._refusals.setdefault((route, record.limit), [0.0, time.time()])[0] += 1.0
        tally = self._tallies.get(route)
        if tally is None:
            tally = self._tallies[route] = _Tally()
        tally.seconds.add(record.total)
        if record.waited:
            if tally.upstream is None:
                tally.upstream = _Spread()
            tally.upstream.add(record.waited)
        tally.bytes_in += record.bytes_in
        tally.bytes_out += record.bytes_out

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now; the log's thread may be counting meanwhile."""
        requests = CounterMetricFamily(
            "bridge_requests", "Requests by route, method and status.", labels=["route", "method", "status"]
        )
        for (route, method, status), (count, created) in list(self._requests.items()):
            requests.add_metric([route, method, str(status)], count, created)
        yield requests
        seconds = HistogramMetricFamily(
            "bridge_request_seconds", "From the request's first byte to the answer's last.", labels=["route"]
        )
        upstream = HistogramMetricFamily("bridge_upstream_seconds", "Waiting for the upstream.", labels=["route"])
        size = CounterMetricFamily("bridge_bytes", "Body bytes.", labels=["route", "direction"])
        for route, tally in list(self._tallies.items()):
            tally.seconds.onto(seconds, route)
            if tally.upstream is not None:
                tally.upstream.onto(upstream, route)
            size.add_metric([route, "in"], float(tally.bytes_in), tally.created)
            size.add_metric([route, "out"], float(tally.bytes_out), tally.created)
        yield from (seconds, upstream, size)
        ejections = CounterMetricFamily(
            "bridge_upstream_ejections",
            "Ejections of instances that failed or took no connection.",
            labels=["upstream"],
        )
        ejected = GaugeMetricFamily("bridge_upstream_ejected", "Instances that are ejected now.", labels=["upstream"])
        for name, total, now in self._ejections():
            ejections.add_metric([name], float(total), self._created)
            ejected.add_metric([name], float(now))
        yield from (ejections, ejected)
        yield from self._limit_metrics()
        if states := self._files():
            files = GaugeMetricFamily(
                "bridge_config_file_current",
                "1: the file is in force as it is written; 0: it can't be used, and the one before it is in force.",
                labels=["file"],
            )
            for name, current in states:
                files.add_metric([name], float(current))
            yield files
        if counts := self._tokens():
            tokens = CounterMetricFamily(
                "bridge_token_requests", "Requests to token endpoints by outcome.", labels=["kind", "outcome"]
            )
            for kind, outcome, total in counts:
                tokens.add_metric([kind, outcome], float(total), self._created)
            yield tokens
        yield from self._issuer_metrics()

    def _issuer_metrics(self) -> Iterator[Metric]:
        if keys := self._issuers():
            issuers = GaugeMetricFamily(
                "bridge_issuer_keys_seconds",
                "Seconds for which an issuer's keys may be used if they can't be fetched again; 0: there are none.",
                labels=["issuer"],
            )
            for name, remaining in keys:
                issuers.add_metric([name], remaining)
            yield issuers
        if counts := self._introspections():
            introspections = CounterMetricFamily(
                "bridge_introspections",
                "Requests about tokens to their issuers by outcome.",
                labels=["issuer", "outcome"],
            )
            for issuer, outcome, total in counts:
                introspections.add_metric([issuer, outcome], float(total), self._created)
            yield introspections

    def _limit_metrics(self) -> Iterator[Metric]:
        refusals = CounterMetricFamily(
            "bridge_limit_refusals", "Calls that a limit refused, by route and policy.", labels=["route", "policy"]
        )
        for (route, policy), (count, created) in list(self._refusals.items()):
            refusals.add_metric([route, policy], count, created)
        if refusals.samples:
            yield refusals
        for name, value in self._limits():
            text = LIMIT_FIGURES[name]
            if name.endswith("_up"):
                yield GaugeMetricFamily(f"bridge_limits_{name}", text, value=value)
            else:
                yield CounterMetricFamily(f"bridge_limits_{name}", text, value=value, created=self._created)

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def render_routes(self, routes: Collection[str], live: int) -> bytes:
        """The series of these routes alone, without those of the whole gateway and of other routes.

        :param routes: by their ids. :param live: how many of them serve.
        """
        return generate_latest(_RouteSeries(self, routes, live))


class _RouteSeries(Collector):
    """The part of `whole` that has one of `routes` as a label."""

    def __init__(self, whole: Metrics, routes: Collection[str], live: int) -> None:
        self._whole, self._routes, self._live = whole, frozenset(routes), live

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("bridge_routes", "Routes that are live.", value=self._live)
        for metric in self._whole.collect():
            metric.samples = [sample for sample in metric.samples if sample.labels.get("route") in self._routes]
            if metric.samples:
                yield metric
