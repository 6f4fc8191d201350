"""Metrics of the pipeline, as Prometheus reads them; all of them come from the ledger, none holds a patient's value.

They tell what the last committed transaction says, so an exporter that was restarted, or that runs twice, tells the
same. docs/operations.md explains each, and what to do when an alert speaks of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from wsgiref.simple_server import WSGIServer

import psycopg
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg import Connection

from elt.vocabulary import Disposition

SECONDS_A_QUERY_MAY_TAKE = 10

# Name, help, labels; the query's columns are the labels, and then the value.
GAUGES = (
    (
        "medilink_files",
        "Files in the ledger by feed and status.",
        ("feed", "status"),
        "select coalesce(feed, 'none'), status, count(*) from audit.ingest_files group by 1, 2",
    ),
    (
        "medilink_quarantine_open_rows",
        "Rows that wait in quarantine.",
        ("feed", "disposition"),
        "select feed, disposition, count(*) from quarantine.entries where closed_at is null group by 1, 2",
    ),
    (
        "medilink_quarantine_oldest_timestamp_seconds",
        "When the row that waits longest came into quarantine.",
        ("feed", "disposition"),
        """
        select feed, disposition, extract(epoch from min(opened_at)) from quarantine.entries
        where closed_at is null group by 1, 2
        """,
    ),
    (
        "medilink_last_run_duration_seconds",
        "How long the newest run took that has ended.",
        (),
        """
        select extract(epoch from completed_at - started_at) from audit.batches
        where completed_at is not null order by batch_id desc limit 1
        """,
    ),
    (
        "medilink_last_run_step_duration_seconds",
        "How long each step of the newest run took that has ended.",
        ("step",),
        """
        select step, extract(epoch from sum(completed_at - started_at)) from audit.batch_steps
        where
            completed_at is not null
            and batch_id = (select max(batch_id) from audit.batches where completed_at is not null)
        group by step
        """,
    ),
    (
        "medilink_last_run_succeeded",
        "Whether the newest run that has ended succeeded: 1 or 0.",
        (),
        """
        select (state = 'succeeded')::int from audit.batches
        where completed_at is not null order by batch_id desc limit 1
        """,
    ),
    (
        "medilink_last_run_failed_tests",
        "Tests of dbt that failed in the newest run that has results.",
        (),
        """
        select count(*) filter (where status in ('fail', 'error')) from audit.dbt_results
        where batch_id = (select max(batch_id) from audit.dbt_results) having count(*) > 0
        """,
    ),
    (
        "medilink_last_published_timestamp_seconds",
        "When marts were put before the readers last.",
        (),
        "select extract(epoch from max(published_at)) from audit.releases having count(*) > 0",
    ),
)
COUNTED = ", ".join(f"('{word}', records_{word})" for word in Disposition)
COUNTERS = (
    (
        "medilink_runs",
        "Runs by how they ended.",
        ("state",),
        "select state, count(*) from audit.batches group by 1",
    ),
    (
        "medilink_rows",
        "Records by what became of them, as their file was counted.",
        ("table", "disposition"),
        f"""
        select table_name, disposition, sum(number) from audit.etl_audit_log
        cross join lateral (values {COUNTED}) as counted (disposition, number)
        where origin = 'drop' group by 1, 2
        """,
    ),
    (
        "medilink_releases",
        "Releases of the marts.",
        (),
        "select count(*) from audit.releases",
    ),
)


class PipelineMetrics(Collector):
    """Asks the ledger each time Prometheus asks; `connect` opens a connection that may read it."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self.connect = connect

    def describe(self) -> list[Metric]:
        """Nothing is asked when the collector is registered: the database may still be down."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric, of one moment; or only that the ledger cannot be asked."""
        try:
            with self.connect() as connection:
                found = _ask(connection)
        except psycopg.Error:
            found = []
        yield GaugeMetricFamily("medilink_ledger_up", "Whether the ledger answered: 1 or 0.", value=bool(found))
        yield from found


def exposition(connect: Callable[[], Connection]) -> str:
    """All metrics as text, in the format that Prometheus and node_exporter's textfile collector read."""
    registry = CollectorRegistry()
    registry.register(PipelineMetrics(connect))
    return generate_latest(registry).decode()


def serve(connect: Callable[[], Connection], host: str, port: int) -> tuple[WSGIServer, threading.Thread]:
    """Answer `GET /metrics` on host:port until the server is shut down."""
    registry = CollectorRegistry()
    registry.register(PipelineMetrics(connect))
    return start_http_server(port, addr=host, registry=registry)


def _ask(connection: Connection) -> list[Metric]:
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    found: list[Metric] = []
    with connection.transaction():
        connection.execute(f"set local statement_timeout = '{SECONDS_A_QUERY_MAY_TAKE}s'")
        for kind, queries in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for name, explanation, labels, query in queries:
                family = kind(name, explanation, labels=labels)
                for *values, number in connection.execute(query.encode()):
                    family.add_metric(values, float(number))
                found.append(family)
    return found
