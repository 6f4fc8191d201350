"""Figures for Prometheus: requests by route, and how the pipeline stands. No value of a request is a label."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache

from flask import Flask, Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from backend.answers import SECURITY, operation_id, refused
from backend.context import kept, this_request
from backend.metrics import queries
from backend.parameters import Parameters
from backend.settings import shared_folder

metrics = APIBlueprint(
    "metrics",
    __name__,
    operation_id_callback=operation_id,
    abp_tags=[Tag(name="metrics", description="For Prometheus, with the OAuth 2.0 client of an operator")],
    abp_security=SECURITY,
    abp_responses={401: refused("without a valid token"), 403: refused("the caller's role may not do this")},
)

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
REQUESTS = CollectorRegistry()
COUNT = Counter("medilink_api_requests", "Answers", ["method", "route", "status"], registry=REQUESTS)
SECONDS = Histogram(
    "medilink_api_request_seconds",
    "Time to answer, seconds",
    ["route"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REQUESTS,
)


def measure(app: Flask) -> None:
    """Count every answer by its route, and how long it took."""

    @app.before_request
    def start() -> None:
        kept().started = time.perf_counter()

    @app.after_request
    def count(answer: Response) -> Response:
        asked = this_request()
        rule, method = asked.url_rule, asked.method
        # Anybody may make up methods; each would be a series of its own.
        answers, seconds = _series(
            method if method in METHODS else "other", rule.rule if rule else "none", answer.status_code
        )
        answers.inc()
        seconds.observe(time.perf_counter() - kept().started)
        return answer


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The answers of one kind, and their times."""
    return COUNT.labels(method, route, str(status)), SECONDS.labels(route)


@metrics.get(
    "/metrics",
    responses={
        200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
def read_metrics(query: Parameters) -> Response:
    """Requests, and how the pipeline stands"""
    requests = REQUESTS
    if shared_folder():
        # Of all workers, whichever of them is asked; those that ended, too.
        MultiProcessCollector(requests := CollectorRegistry())  # type: ignore[no-untyped-call]
    pipeline = CollectorRegistry()
    pipeline.register(_Pipeline())
    return Response(generate_latest(requests) + generate_latest(pipeline), content_type=CONTENT_TYPE_LATEST)


class _Pipeline(Collector):
    """How the pipeline stands."""

    def collect(self) -> Iterator[Metric]:
        for name, description, labels, values in queries.gauges():
            gauge = GaugeMetricFamily(f"medilink_{name}", description, labels=labels)
            for label_values, value in values:
                gauge.add_metric(label_values, value)
            yield gauge
