"""GET /metrics: figures for Prometheus, of the whole service and of the requests to all web processes."""

import os
import time
from collections.abc import Iterator
from functools import cache
from typing import cast

from flask import Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from cift_core.services.gauges import Gauge, gauges
from cift_core.services.health import Health
from cift_web.database import db, stores
from cift_web.resources import Resource

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the library's: where the processes of one server meet
prometheus = Resource("prometheus", description="Figures for a monitoring system.")
# in no registry: without a shared folder they would be those of one process out of several
_REQUESTS = Counter("cift_http_requests", "Requests answered.", ["operation", "status"], registry=None)
_SECONDS = Histogram(
    "cift_http_request_seconds",
    "How long an answer took.",
    ["operation"],
    registry=None,
    buckets=BUCKETS_S,
)


class Current(Collector):
    """The figures of this moment."""

    def __init__(self, found: list[Gauge]) -> None:
        self._found = found

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Each in the library's form."""
        for gauge in self._found:
            family = GaugeMetricFamily(gauge.name, gauge.help)
            for labels, value in gauge.values:
                family.add_sample(gauge.name, labels, value)
            yield family


_TEXT = {"description": "The exposition format.", "content": {"text/plain": {"schema": {"type": "string"}}}}


@prometheus.operation("GET", "/metrics", access="admin", doc={"responses": {"200": _TEXT}})
def get_metrics() -> Response:
    """Read the figures for Prometheus

    Jobs, queues, checks, alerts and memory at this moment; requests since the web server's start.
    """
    health = cast("Health", current_app.extensions["health"])
    registry = CollectorRegistry()
    registry.register(Current(list(gauges(stores(), health, db.session()))))
    if SHARED_FOLDER in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the package has no types for it
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def count_request(response: Response) -> Response:
    """Count an answer; what no route takes is one operation."""
    operation = (request.endpoint or "none").rpartition(".")[2]
    requests, seconds = _counters(operation, response.status_code)
    requests.inc()
    seconds.observe(time.perf_counter() - g.started)
    return response


@cache
def _counters(operation: str, status: int) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(operation, str(status)), _SECONDS.labels(operation)
